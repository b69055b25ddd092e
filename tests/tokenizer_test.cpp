// Tokenizer, split pattern and trainer. The ids are those of Hugging Face's tokenizers.
#include "vlm/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "io/error.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "vlm/tokenizer/bpe_trainer.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Words = std::vector<std::string_view>;

std::string joined(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += tokenizer.token(id);
  return text;
}

TEST(SplitWords, FollowsThePattern) {
  EXPECT_EQ(split_words(""), Words{});
  EXPECT_EQ(split_words("it's we'Re 'tis '"), (Words{"it", "'s", " we", "'Re", " '", "tis", " '"}));
  EXPECT_EQ(split_words("it'\u017Fx 'l"), (Words{"it", "'\u017F", "x", " '", "l"}));
  EXPECT_EQ(split_words("(abc"), (Words{"(abc"}));
  EXPECT_EQ(split_words("a1234 5"), (Words{"a", "1", "2", "3", "4", " ", "5"}));
  EXPECT_EQ(split_words("x !?\n\n y"), (Words{"x", " !?\n\n", " y"}));
  EXPECT_EQ(split_words("a   b  "), (Words{"a", "  ", " b", "  "}));
  EXPECT_EQ(split_words("a \n \n  b\tc"), (Words{"a", " \n \n", " ", " b", "\tc"}));
  EXPECT_EQ(split_words("a\r\nb"), (Words{"a", "\r\n", "b"}));
  EXPECT_EQ(split_words("\u3000\u00A0x"), (Words{"\u3000", "\u00A0x"}));
  EXPECT_EQ(split_words("a\u0085\u0085b"), (Words{"a", "\u0085", "\u0085b"}));  // a blank, though Python's re has it
  EXPECT_EQ(split_words("a\x1C!"), (Words{"a", "\x1C!"}));                      // not a blank
  EXPECT_EQ(split_words("\u0301a\u0301"), (Words{"\u0301a", "\u0301"}));        // marks are neither letters nor blanks
  EXPECT_EQ(split_words("\u5317\u4EAC\u00BD\u2167"), (Words{"\u5317\u4EAC", "\u00BD", "\u2167"}));
  EXPECT_THROW(split_words("caf\xE9"), Error);
}

TEST(NormalizeNfc, ComposesAndKeeps) {
  EXPECT_EQ(normalize_nfc("e\u0301 \u00E9 abc"), "\u00E9 \u00E9 abc");
  EXPECT_EQ(normalize_nfc("\u1100\u1161\u11A8"), "\uAC01");
  EXPECT_EQ(normalize_nfc(std::string_view("a\0b\u0301", 5)), std::string("a\0b\u0301", 5));
  EXPECT_THROW(normalize_nfc("caf\xE9"), Error);
}

TEST(TokenizerGolden, GivesTheReferenceIds) {
  NEEDS_GOLDEN("qwen2_vl")
  const Tokenizer tokenizer = Tokenizer::load(golden("qwen2_vl/tiny"));
  const json cases = read_json(golden("qwen2_vl/tokenizer_cases.json"));
  ASSERT_GE(cases.size(), 40);
  for (const json& example : cases)
    EXPECT_EQ(tokenizer.encode(std::string(example["text"])), std::vector<int32_t>(example["ids"])) << example["text"];
}

// Whole prompts: an image token stands for as many as its picture has merged patches.
TEST(TokenizerGolden, GivesTheReferenceIdsOfPrompts) {
  NEEDS_GOLDEN("qwen2_vl")
  const Tokenizer tokenizer = Tokenizer::load(golden("qwen2_vl/tiny"));
  const auto cases = read_json(golden("qwen2_vl/cases.json"));
  const NamedTensors reference = load_safetensors(golden("qwen2_vl/expected.safetensors"));
  const int32_t image = tokenizer.id_of("<|image_pad|>").value();
  int compared = 0;
  for (const auto& example : cases.at("tiny")) {
    const std::string name = "tiny/" + std::string(example["name"]);
    const int64_t* grid = nullptr;  // t, h, w of the next picture
    if (example.contains("images")) grid = reference.at(name + "/image_grid_thw").data<int64_t>();
    std::vector<int64_t> ids;
    for (const int32_t id : tokenizer.encode(std::string(example["text"]))) {
      const bool is_picture = id == image && grid;
      ids.insert(ids.end(), is_picture ? grid[0] * grid[1] * grid[2] / 4 : 1, id);
      if (is_picture) grid += 3;
    }
    const Tensor& expected = reference.at(name + "/input_ids");
    EXPECT_EQ(ids, std::vector(expected.data<int64_t>(), expected.data<int64_t>() + expected.numel())) << name;
    ++compared;
  }
  EXPECT_GE(compared, 16);
}

TEST(Tokenizer, FindsAddedTokensBeforeNormalisation) {
  const Tokenizer tokenizer = Tokenizer::load(golden("qwen2_vl/tiny"));
  const int32_t image = tokenizer.id_of("<|image_pad|>").value();
  EXPECT_EQ(tokenizer.token(image), "<|image_pad|>");
  EXPECT_EQ(tokenizer.encode("<|image_pad|><|image_pad|>"), (std::vector{image, image}));
  EXPECT_EQ(tokenizer.encode("<|image_pad|>\u0338").front(), image);  // NFC would make one character of > and U+0338
  EXPECT_EQ(tokenizer.encode("<|image_pad|"), tokenizer.encode("<|image_pad|"));
  EXPECT_EQ(joined(tokenizer, tokenizer.encode("<|<|image_pad|>|>")), "<|<|image_pad|>|>");
  EXPECT_EQ(tokenizer.id_of("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_of(""), std::nullopt);
  EXPECT_THROW(tokenizer.token(tokenizer.vocab_size()), Error);
}

TEST(Tokenizer, PrefersTheLongestAddedToken) {
  BpeVocabulary vocabulary = train_bpe({}, 300, {"<a>", "<a><b>", "<b>"});
  const Tokenizer tokenizer(vocabulary);
  EXPECT_EQ(tokenizer.encode("<a><b><a>"), (std::vector<int32_t>{1, 0}));
}

// Every refusal names what it does not understand.
TEST(Tokenizer, RefusesOtherKinds) {
  const TemporaryFolder folder("tokenizer");
  const json good = read_json(golden("qwen2_vl/tiny/tokenizer.json"));
  const auto refusal = [&](const char* pointer, const json& value) -> std::string {
    json changed = good;
    changed[json::json_pointer(pointer)] = value;
    write_json(folder / "tokenizer.json", changed);
    try {
      Tokenizer::load(folder.path());
      return "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code, Exit::data);
      return error.what();
    }
  };
  EXPECT_EQ(refusal("/version", "1.0"), "accepted");
  EXPECT_EQ(refusal("/normalizer", nullptr), "accepted");
  for (const auto& [pointer, value, name] : std::vector<std::tuple<const char*, json, const char*>>{
           {"/model/type", "WordLevel", "the model is \"WordLevel\""},
           {"/model/type", "Unigram", "the vocabulary of Unigram is not a list"},
           {"/model/vocab", json::array(), "the vocabulary of BPE is not a dictionary"},
           {"/model/vocab", json::array({json::array({0, "a"})}), "token 0 of the vocabulary is not [\"token\", "},
           {"/model/dropout", 0.1, "dropout"},
           {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
           {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
           {"/model/merges/0", "ab", "no blank"},
           {"/model/merges/0", "a zz\u00FF", "vocabulary lacks"},
           {"/model/vocab/!", -1, "id -1"},
           {"/model/vocab/!", 5, "have id 5"},
           {"/model/vocab", json::object(), "there are only 14 tokens"},
           {"/normalizer/type", "NFKC", "NFKC"},
           {"/pre_tokenizer/type", "Whitespace", "Whitespace"},
           {"/pre_tokenizer/pretokenizers/0/type", "Digits", "Digits"},
           {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "\\w+", "the pattern \"\\\\w+\" has"},
           {"/pre_tokenizer/pretokenizers/0/behavior", "MergedWithNext", "MergedWithNext"},
           {"/pre_tokenizer/pretokenizers/1/add_prefix_space", true, "add_prefix_space"},
           {"/post_processor/type", "Unknown", "Unknown"},
           {"/added_tokens/3/single_word", true, "single_word"},
           {"/added_tokens/3/id", 5, "have id 5"}})
    EXPECT_NE(refusal(pointer, value).find(name), std::string::npos) << pointer << ": " << refusal(pointer, value);
  for (const char* nonsense : {"{}", "[[[1]]]", "[{\"vocab\": {}}]", "{\"model\": [[\"a b\"]]}", "1", ""}) {
    write_text(folder / "tokenizer.json", nonsense);
    EXPECT_THROW(Tokenizer::load(folder.path()), Error) << nonsense;
  }
  EXPECT_THROW(Tokenizer::load(folder / "missing"), Error);
}

TEST(Tokenizer, ReadsMergesAsPairsToo) {
  const TemporaryFolder folder("tokenizer");
  json file = read_json(golden("qwen2_vl/tiny/tokenizer.json"));
  for (json& merge : file["model"]["merges"]) {
    const std::string line = merge;
    const size_t blank = line.find(' ');
    merge = {line.substr(0, blank), line.substr(blank + 1)};
  }
  write_json(folder / "tokenizer.json", file);
  const std::string text = "Represent the given image for classification\n";
  EXPECT_EQ(Tokenizer::load(folder.path()).encode(text), Tokenizer::load(golden("qwen2_vl/tiny")).encode(text));
}

TEST(BpeTrainer, MergesTheMostFrequentPair) {
  // Words aab (3 times), ab, bc: the pair (a, b) occurs 4 times, then (a, ab) 3 times, then (b, c) once.
  const std::vector<std::string> texts = {"aab", "aab!", "aab", "ab", "bc"};
  const BpeVocabulary learned = train_bpe(texts, 1000, {});
  std::vector<std::string> merges;
  for (const auto& [left, right, merged] : learned.merges) {
    EXPECT_EQ(learned.tokens[merged], learned.tokens[left] + learned.tokens[right]);
    merges.push_back(learned.tokens[merged]);
  }
  EXPECT_EQ(merges, (std::vector<std::string>{"ab", "aab", "bc"}));  // "!" is a word of its own
  EXPECT_EQ(learned.tokens.size(), 256u + 3);
}

// The reference: tokenizers 0.23.3, BpeTrainer(vocab_size=300, initial_alphabet=ByteLevel.alphabet()).
TEST(BpeTrainer, LearnsWhatHuggingFaceLearns) {
  const std::vector<std::string> texts = {"<|image_pad|>\nName the object.\n",
                                          "Name the kind of object.",
                                          "aaaa aaa aa",
                                          "abab abc abcabc",
                                          "caf\u00E9 cafe\u0301",
                                          "cat, dog and tree<|image_pad|>"};
  const BpeVocabulary learned = train_bpe(texts, 300);
  std::string merges;
  for (const auto& merge : learned.merges)
    merges += learned.tokens[merge.left] + " " + learned.tokens[merge.right] + "\n";
  EXPECT_EQ(merges, R"(a a
a b
c a
Ġ o
Ġ t
ab c
N a
b j
c t
e ct
f Ã
h e
m e
n d
Ġ aa
Ġ abc
ca fÃ
Ġo bj
Ġt he
Na me
cafÃ ©
Ġobj ect
. Ċ
a nd
d o
e e
i nd
k ind
r ee
Ġ cafÃ©
Ġ and
Ġ do
Ġ kind
aa aa
ab ab
ca t
Ġo f
Ġt ree
Ġaa a
Ġabc abc
Ġdo g
)");
}

TEST(BpeTrainer, ItsFileIsReadBack) {
  const TemporaryFolder folder("tokenizer");
  const std::vector<std::string> texts = {"<|image_pad|>\nFind the image: cat, dog and tree\n", "Find the caption."};
  const BpeVocabulary learned = train_bpe(texts, 280);
  EXPECT_EQ(learned.tokens.size(), 280u);
  write_tokenizer_json(folder / "tokenizer.json", learned);
  const Tokenizer direct(learned), read = Tokenizer::load(folder.path());
  EXPECT_EQ(read.vocab_size(), 280);
  EXPECT_EQ(read.id_of("<|endoftext|>"), 0);
  EXPECT_EQ(read.id_of("<|image_pad|>"), 1);
  for (const std::string& text : texts) EXPECT_EQ(read.encode(text), direct.encode(text));
  EXPECT_LT(read.encode(texts[1]).size(), texts[1].size());
  EXPECT_THROW(train_bpe(texts, 200), Error);
}

}  // namespace
}  // namespace vlm2vec
