// Settings of tokenizer_config.json that are the tokenizer class's own. Ids of transformers 4.52.3.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "vlm/tokenizer/tokenizer.h"
#include "vlm/tokenizer/tokenizer_classes.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

class TokenizerClass : public testing::Test {
 protected:
  // The tokenizer of a golden model from one of its files, with its configuration changed.
  Tokenizer with(const std::filesystem::path& family, const char* file, const json& patch) const {
    const std::filesystem::path model = golden(family) / "model";
    const TemporaryFolder folder("tokenizer-class");
    std::filesystem::copy_file(model / file, folder / file);
    json config = read_json(model / "tokenizer_config.json");
    config.merge_patch(patch);
    write_json(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  }
  void expect(const char* family, const char* file, const json& patch, const std::vector<const char*>& texts,
              const std::vector<Ids>& ids) const {
    const Tokenizer tokenizer = with(family, file, patch);
    for (size_t i = 0; i < ids.size(); ++i)
      EXPECT_EQ(tokenizer.encode_with_ends(texts[i]), ids[i]) << file << patch << json(texts[i]);
  }
};

TEST_F(TokenizerClass, LlamaSaysWhatIsAroundATextAndBeforeIt) {
  const std::vector<const char*> texts = {"a b", "<s> a", "", " a<|end|> b"};
  const std::vector<Ids> plain = {{1, 1162, 289}, {1, 1, 263}, {1}, {1, 263, 1399, 1178}};
  for (const char* file : {"tokenizer.json", "tokenizer.model"}) {
    const auto is = [&](const json& patch, const std::vector<Ids>& ids) { expect("phi3_v", file, patch, texts, ids); };
    is(json::object(), plain);
    is({{"tokenizer_class", "LlamaTokenizerFast"}}, plain);
    is({{"add_prefix_space", false}}, plain);
    is({{"add_prefix_space", true}}, {{1, 263, 289}, {1, 1, 1159, 263}, {1}, {1, 1159, 263, 1399, 289}});
    is({{"legacy", false}, {"add_prefix_space", true}}, {{1, 263, 289}, {1, 1, 263}, {1}, {1, 263, 1399, 1178}});
    is({{"add_eos_token", true}},
       {{1, 1162, 289, 1392}, {1, 1, 263, 1392}, {1, 1392}, {1, 263, 1399, 1178, 1392}});
    is({{"add_bos_token", false}}, {{1162, 289}, {1, 263}, {}, {263, 1399, 1178}});
    is({{"add_eos_token", true}, {"eos_token", "</s>"}}, {{1, 1162, 289, 2}, {1, 1, 263, 2}, {1, 2}});
  }
  expect("phi3_v", "tokenizer.model", {{"legacy", false}}, texts, plain);
  // The golden file says null, which is false; without the key, which a patch of null takes away, it is true.
  expect("phi3_v", "tokenizer.json", {{"add_prefix_space", nullptr}}, texts, plain);
  expect("phi3_v", "tokenizer.model", {{"add_prefix_space", nullptr}}, texts,
         {{1, 263, 289}, {1, 1, 1159, 263}, {1}, {1, 1159, 263, 1399, 289}});
}

// As transformers' generate_merges: by score, then the longer left part, then the longer right part, then by ids.
TEST(TakeBpe, MergesAreInTheOrderOfScores) {
  SentencePieceFile file;
  file.model_type = 2;
  for (const auto& [text, score] : std::vector<std::pair<const char*, float>>{
           {"<unk>", 0}, {"<s>", 0}, {"</s>", 0}, {"x", -9}, {"y", -9}, {"é", -9}, {"w", -9}, {"éw", -2}, {"xyé", -2},
           {"xy", -1}, {"yé", -3}})
    file.pieces.push_back({text, score});
  TokenLists lists;
  take_bpe(lists, file);
  std::string merges;
  for (const auto& [left, right] : lists.merges) merges += left + "+" + right + " ";
  EXPECT_EQ(merges, "x+y xy+é x+yé é+w y+é ");
}

TEST(TakeBpe, ControlAndUserDefinedPiecesAreAddedTokens) {
  using File = SentencePieceFile;
  File file;
  file.model_type = 2;
  file.pieces = {{"<unk>", 0, File::unknown}, {"<s>", 0, File::control}, {"x", 0, File::normal},
                 {"he", 0, File::user_defined}, {"<0x00>", 0, File::byte}};
  TokenLists lists;
  take_bpe(lists, file);
  ASSERT_EQ(lists.added.size(), 2u);
  EXPECT_EQ(lists.added[0].token + lists.added[1].token, "<s>he");
  EXPECT_EQ(lists.added[1].id, 3u);
}

TEST_F(TokenizerClass, BertSaysWhatItsTextIs) {
  const std::vector<const char*> texts = {"H\u00E9 LLo \u4E2D\u56FDx", "[SEP] A"};
  for (const char* file : {"tokenizer.json", "vocab.txt"}) {
    const auto is = [&](const json& patch, const std::vector<Ids>& ids) { expect("blip2", file, patch, texts, ids); };
    is(json::object(), {{2, 481, 685, 120, 1, 1, 66, 3}, {2, 3, 43, 3}});
    is({{"do_lower_case", false}}, {{2, 1, 1, 1, 1, 66, 3}, {2, 3, 1, 3}});
    is({{"strip_accents", false}}, {{2, 1, 685, 120, 1, 1, 66, 3}, {2, 3, 43, 3}});
    is({{"tokenize_chinese_chars", false}}, {{2, 481, 685, 120, 1, 3}, {2, 3, 43, 3}});
  }
}

TEST_F(TokenizerClass, BertNeedsNoConfigurationForItsVocabulary) {
  const TemporaryFolder folder("vocab-txt");
  write_text(folder / "vocab.txt", "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\na\r\n##b\r\n");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode_with_ends("ABb x[MASK]"), (Ids{2, 5, 6, 6, 1, 4, 3}));
}

TEST_F(TokenizerClass, SiglipLowersItsTextAndTakesItsEndOnce) {
  const std::vector<const char*> texts = {"A </S> b!</s>", "Hello </s>", "",           "!", "</s>!a",
                                          "\u2581a",       "<unk> b",    "a<img>b<IMG>c<OBJ>d"};
  const auto is = [&](const json& patch, const std::vector<Ids>& ids) {
    expect("siglip", "spiece.model", patch, texts, ids);
  };
  is(json::object(), {{10, 1, 149, 1}, {5, 251, 322, 44, 1}, {1}, {1}, {1, 37, 1}, {10, 1}, {2, 149, 1},
                      {10, 117, 149, 117, 125, 149, 725, 27, 1}});
  is({{"added_tokens_decoder", nullptr}}, {{10, 1, 149, 1}, {5, 251, 322, 44, 1}});
  is({{"do_lower_case", false}}, {{56, 274, 211, 1}, {5, 1096, 24, 322, 44, 1}, {1}, {1}, {1, 37, 1}, {10, 1},
                                  {2, 149, 1}, {10, 117, 149, 246, 413, 137, 240, 477, 168, 805, 27, 1}});
  is({{"additional_special_tokens", {"<IMG>", "<obj>"}}},
     {{10, 1, 149, 1}, {5, 251, 322, 44, 1}, {1}, {1}, {1, 37, 1}, {10, 1}, {2, 149, 1},
      {10, 117, 149, 1100, 240, 1101, 27, 1}});
  const Tokenizer tokenizer = with("siglip", "spiece.model", json::object());
  EXPECT_EQ(tokenizer.encode_with_ends("Hello", 3), (Ids{5, 251, 1}));
}

TEST_F(TokenizerClass, OthersAreRefusedByName) {
  const auto refused = [&](const char* family, const char* file, const json& patch, const char* sentence) {
    expect_error(Exit::data, sentence, [&] { with(family, file, patch); });
  };
  const json gemma = {{"tokenizer_class", "GemmaTokenizer"}}, none = {{"tokenizer_class", nullptr}};
  refused("phi3_v", "tokenizer.model", gemma, "tokenizer_config.json: tokenizer_class is \"GemmaTokenizer\"");
  refused("phi3_v", "tokenizer.model", none, "tokenizer_config.json: tokenizer_class is \"\"");
  refused("blip2", "vocab.txt", gemma, "tokenizer_config.json: tokenizer_class is \"GemmaTokenizer\"");
  refused("siglip", "spiece.model", gemma, "has spiece.model, but tokenizer_config.json does not name SiglipTokenizer");
  refused("e5_v", "tokenizer.json", {{"tokenizer_class", "LlamaTokenizer"}, {"bos_token", nullptr}},
          "tokenizer_config.json: the tokenizer has no token \"<s>\"");
  const TemporaryFolder folder("tokenizer-class");
  std::filesystem::copy_file(golden("phi3_v/model/tokenizer.model"), folder / "tokenizer.model");
  expect_error(Exit::data, "has tokenizer.model but neither tokenizer.json nor tokenizer_config.json; copy one of",
               [&] { Tokenizer::load(folder.path()); });
  std::filesystem::copy_file(golden("siglip/model/spiece.model"), folder / "tokenizer.model",
                             std::filesystem::copy_options::overwrite_existing);
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "LlamaTokenizer"}});
  expect_error(Exit::data, "tokenizer.model: the model_type is 1; this program",
               [&] { Tokenizer::load(folder.path()); });
}

}  // namespace
}  // namespace vlm2vec
