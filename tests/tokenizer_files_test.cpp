// The tokenizer of the real models, from each of its file formats.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "expect_error.h"
#include "golden.h"
#include "io/json_lines.h"
#include "temporary_folder.h"
#include "tokenizer_files.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/sentencepiece.h"
#include "vlm/tokenizer/tokenizer.h"
#include "vlm/tokenizer/web_text.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

int differing(const Tokenizer& tokenizer, const std::filesystem::path& cases, int at_least = 600) {
  int count = 0, different = 0;
  read_json_lines(cases, [&](const json& example) {
    const std::string text = example.at("text");
    const auto equal = [&](const char* ids, int64_t max_len) {
      return tokenizer.encode_with_ends(text, max_len) == example.at(ids).get<std::vector<int32_t>>();
    };
    const bool same = equal(example.contains("ids") ? "ids" : "input_ids", 0) &&
                      (!example.contains("truncated_ids") || equal("truncated_ids", example.at("max_length")));
    if (!same && ++different <= 5) ADD_FAILURE() << example.dump();
    ++count;
  });
  EXPECT_GE(count, at_least);
  return different;
}

void expect_reference_ids_from_either_format(const std::filesystem::path& folder, const char* kind) {
  EXPECT_EQ(differing(Tokenizer::load(folder), folder / "cases.jsonl"), 0);
  const TemporaryFolder split("tokenizer-files");
  split_tokenizer(folder / "tokenizer.json", split.path(), kind);
  EXPECT_EQ(differing(Tokenizer::load(split.path()), folder / "cases.jsonl"), 0);
}

TEST(TokenizerGolden, GivesTheReferenceIdsOfQwen2FromEitherFormat) {
  NEEDS_GOLDEN("tokenizers/qwen2")
  const Tokenizer tokenizer = Tokenizer::load(golden("tokenizers/qwen2"));
  EXPECT_EQ(tokenizer.vocab_size(), 151657);
  EXPECT_EQ(tokenizer.id_of("<|image_pad|>"), 151655);
  EXPECT_TRUE(tokenizer.is_added(151655));
  EXPECT_FALSE(tokenizer.is_added(64));
  expect_reference_ids_from_either_format(golden("tokenizers/qwen2"), "Qwen2Tokenizer");
}

TEST(TokenizerGolden, GivesTheReferenceIdsOfClipFromEitherFormat) {
  if (golden_is_ours()) GTEST_SKIP() << "not run: the vocabulary of CLIP is in the whole collection only";
  NEEDS_GOLDEN("tokenizers/clip")
  const Tokenizer tokenizer = Tokenizer::load(golden("tokenizers/clip"));
  EXPECT_EQ(tokenizer.vocab_size(), 49408);
  EXPECT_EQ(tokenizer.id_of("<|endoftext|>"), 49407);
  expect_reference_ids_from_either_format(golden("tokenizers/clip"), "CLIPTokenizer");
}

class FamilyTokenizerGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, FamilyTokenizerGolden,
                         testing::Values("phi3_v", "llava_next", "e5_v", "siglip", "blip2"));

TEST_P(FamilyTokenizerGolden, GivesTheReferenceIds) {
  NEEDS_GOLDEN(GetParam())
  const std::filesystem::path family = golden(GetParam());
  EXPECT_EQ(differing(Tokenizer::load(family / "model"), family / "tokens.jsonl", 39), 0);
  const TemporaryFolder old(GetParam());  // without tokenizer.json
  bool has_older = false;
  for (const char* file : {"tokenizer_config.json", "tokenizer.model", "vocab.txt"})
    if (std::filesystem::exists(family / "model" / file)) {
      std::filesystem::copy_file(family / "model" / file, old / file);
      has_older |= std::string_view(file) != "tokenizer_config.json";
    }
  EXPECT_EQ(has_older, std::set<std::string>({"phi3_v", "llava_next", "blip2"}).contains(GetParam()));
  if (!has_older) return;
  EXPECT_EQ(differing(Tokenizer::load(old.path()), family / "tokens.jsonl", 39), 0);
}

// SentencePiece's own ids, and those of SiglipTokenizer, of which the last, padding, are left out.
TEST(TokenizerGolden, GivesTheReferenceIdsOfSpieceModel) {
  NEEDS_GOLDEN("tokenizers/siglip")
  const std::filesystem::path siglip = golden("tokenizers/siglip");
  const SentencePieceFile file = SentencePieceFile::read(siglip / "spiece.model");
  std::vector<std::string> pieces;
  for (const auto& piece : file.pieces) pieces.push_back(piece.text);
  const SentencePieceUnigram plain(file, std::make_shared<Vocabulary>(pieces), "");
  const TemporaryFolder folder("siglip");
  std::filesystem::copy_file(siglip / "spiece.model", folder / "spiece.model");
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "SiglipTokenizer"}});
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  int compared = 0;
  read_json_lines(siglip / "cases.jsonl", [&](const json& example) {
    const std::string text = example.at("text");
    std::vector<int32_t> ids = tokenizer.encode_with_ends(text, 64), expected = example.at("siglip_ids");
    for (auto* padded : {&ids, &expected})
      while (!padded->empty() && padded->back() == 1) padded->pop_back();
    EXPECT_EQ(ids, expected) << example["text"];
    if (!example.contains("spm_ids")) return;
    ids.clear();
    const std::string_view word = text;
    if (!word.empty()) plain.encode({&word, 1}, ids);
    EXPECT_EQ(ids, example["spm_ids"].get<std::vector<int32_t>>()) << example["text"];
    ++compared;
  });
  EXPECT_GE(compared, 500);
}

// Those of other models are in other collections.
TEST(TokenizerGolden, GivesTheReferenceIdsOfEveryTokenizer) {
  NEEDS_GOLDEN("tokenizers")
  int read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden("tokenizers"))) {
    if (!std::filesystem::exists(entry.path() / "cases.jsonl")) continue;
    EXPECT_EQ(differing(Tokenizer::load(entry.path()), entry.path() / "cases.jsonl"), 0) << entry.path();
    ++read;
  }
  EXPECT_EQ(read, golden_is_ours() ? 2 : 5);
}

// Texts that were decoded by a wrong code page are not repaired: one row is left out by name.
TEST(TokenizerGolden, GivesTheReferenceIdsOfOpenClip) {
  const std::filesystem::path folder = golden("open_clip");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "not run: no " << folder;
  const Tokenizer tokenizer = Tokenizer::load(folder / "model", TextCleaning::open_clip);
  int compared = 0;
  read_json_lines(folder / "tokens.jsonl", [&](const json& example) {
    if (example.at("text").get<std::string>().find("mojibake") != std::string::npos) return;
    std::vector<int32_t> expected = example.at("input_ids");
    while (expected.size() > 2 && expected.back() == 0) expected.pop_back();  // padding
    EXPECT_EQ(tokenizer.encode_with_ends(example["text"].get<std::string>(), 77), expected) << example["text"];
    ++compared;
  });
  EXPECT_EQ(compared, 39);
}

// The characters that web pages spell by names and numbers, as Python's html.unescape and ftfy have them.
TEST(WebText, entities_and_odd_characters_become_usual_ones) {
  EXPECT_EQ(without_html_entities("&eacute;&#233;&#xE9; &amp;lt; &notit; &notin; &x; &"), "ééé &lt; ¬it; ∉ &x; &");
  EXPECT_EQ(without_html_entities("&#0;&#128;&#x110000;&#1;&#; &#x;"), "\uFFFD€\uFFFD&#; &#x;");
  EXPECT_EQ(without_html_entities("&NotEqualTilde;&acE;"), "≂̸∾̳");
  EXPECT_EQ(clean_web_text("&amp;amp;&amp;lt;b"), "&<b");
  EXPECT_EQ(clean_web_text("ﬁne “quotes” ‘here’ Ｈｉ，ｶﾞ\u3000x"), "fine \"quotes\" 'here' Hi,ガ x");
  EXPECT_EQ(clean_web_text("a\x01\r\nb\rc\u2028d\uFEFF\u0096"), "a\nb\nc\nd–");
  EXPECT_EQ(clean_web_text("ΟΔΟΣ Σ ΣΑΣ. ΑΣΒ"), "ΟΔΟς Σ ΣΑς. ΑΣΒ");
}

// A usual configuration: nothing about the blank before a text.
TEST(TokenizerGolden, GivesTheReferenceIdsFromTokenizerModel) {
  for (const auto& [name, file] : {std::pair("mistral", "tokenizer.model"), {"phi3", "llama.model"}}) {
    const std::filesystem::path given = golden("tokenizers") / name;
    if (!std::filesystem::exists(given)) GTEST_SKIP() << "not run: no " << given;
    const TemporaryFolder folder("tokenizer-model");
    std::filesystem::copy_file(given / file, folder / "tokenizer.model");
    json config = {{"tokenizer_class", "LlamaTokenizer"}, {"added_tokens_decoder", json::object()}};
    const json reference = read_json(given / "tokenizer.json");
    for (const json& token : reference.at("added_tokens"))
      config["added_tokens_decoder"][std::to_string(token.at("id").get<int>())] = token;
    write_json(folder / "tokenizer_config.json", config);
    EXPECT_EQ(differing(Tokenizer::load(folder.path()), given / "cases.jsonl"), 0) << name;
  }
}

TEST(TokenizerGolden, GivesTheReferenceIdsOfTinyClipFromEitherFormat) {
  NEEDS_GOLDEN("clip")
  const TemporaryFolder folder("tiny-clip");
  for (const char* file : {"vocab.json", "merges.txt", "tokenizer_config.json"})
    std::filesystem::copy_file(golden("clip/model") / file, folder / file);
  EXPECT_EQ(differing(Tokenizer::load(golden("clip/model")), golden("clip/tokens.jsonl"), 40), 0);
  EXPECT_EQ(differing(Tokenizer::load(folder.path()), golden("clip/tokens.jsonl"), 40), 0);
  // As transformers 5 saves it: the ends stand in the pattern too.
  json file = read_json(golden("clip/model/tokenizer.json"));
  json& pattern = file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
  pattern = R"(<\|startoftext\|>|<\|endoftext\|>|)" + pattern.get<std::string>();
  write_json(folder / "tokenizer.json", file);
  EXPECT_EQ(differing(Tokenizer::load(folder.path()), golden("clip/tokens.jsonl"), 40), 0);
}

TEST(TokenizerGolden, GivesTheReferenceIdsOfTinyFromVocabularyAndMerges) {
  NEEDS_GOLDEN("qwen2_vl")
  const TemporaryFolder split("tokenizer-files");
  split_tokenizer(golden("qwen2_vl/tiny/tokenizer.json"), split.path());
  const Tokenizer tokenizer = Tokenizer::load(split.path());
  const json examples = read_json(golden("qwen2_vl/tokenizer_cases.json"));
  EXPECT_GE(examples.size(), 1u);
  for (const json& example : examples)
    EXPECT_EQ(tokenizer.encode(std::string(example["text"])), std::vector<int32_t>(example["ids"])) << example["text"];
}

TEST(TokenizerFiles, OldFilesAreRefusedByName) {
  const TemporaryFolder folder("tokenizer-files");
  const auto refused = [&](const std::string& sentence) {
    expect_error(Exit::data, sentence, [&] { Tokenizer::load(folder.path()); });
    split_tokenizer(golden("qwen2_vl/tiny/tokenizer.json"), folder.path());
  };
  refused("has neither tokenizer.json nor vocab.json");
  Tokenizer::load(folder.path());
  std::filesystem::remove(folder / "merges.txt");
  refused("has vocab.json but neither tokenizer.json nor merges.txt; copy one of the two from the model");
  std::filesystem::remove(folder / "tokenizer_config.json");
  refused("has vocab.json but neither tokenizer.json nor tokenizer_config.json; copy one");
  for (const char* nonsense : {"[1]", "[[{\"a\": 0}]]", "7"}) {
    write_text(folder / "vocab.json", nonsense);
    refused("vocab.json: is not a dictionary of tokens");
  }
  write_text(folder / "vocab.json", R"({"a": "b"})");
  refused("vocab.json: token \"a\" has id \"b\", expected a whole number");
  write_text(folder / "vocab.json", R"({"a": 0, "b": 0})");
  refused("tokens \"a\" and \"b\" have id 0");
  write_text(folder / "vocab.json", R"({"a": 16000000})");
  refused("token \"a\" has id 16000000, but there are only 15 tokens");
  write_text(folder / "vocab.json", R"({"!": 1800,)" + read_text(folder / "vocab.json").substr(1));
  refused("token \"!\" has two ids, ");
  write_text(folder / "merges.txt", "#version: 0.2\r\nab\r\n");
  refused("merges.txt: merge \"ab\" has no blank");
  json config = read_json(folder / "tokenizer_config.json");
  config["tokenizer_class"] = "LlamaTokenizer";
  write_json(folder / "tokenizer_config.json", config);
  refused("tokenizer_class is \"LlamaTokenizer\"");
  config["tokenizer_class"] = "Qwen2Tokenizer";
  config["added_tokens_decoder"]["1756"]["single_word"] = true;
  write_json(folder / "tokenizer_config.json", config);
  refused("\"<|endoftext|>\" has single_word");
}

// Ids of transformers 4.52.3, 4.57.6 and 5.23: what tokenizer_config.json adds comes behind the others.
TEST(TokenizerFiles, TokensOfTheConfigurationAreAdded) {
  const TemporaryFolder folder("configured");
  const std::filesystem::path tiny = golden("qwen2_vl/tiny");
  split_tokenizer(tiny / "tokenizer.json", folder.path());
  std::filesystem::copy_file(tiny / "tokenizer.json", folder / "tokenizer.json");
  const json plain = read_json(folder / "tokenizer_config.json");
  const auto with = [&](const json& patch) {
    json config = plain;
    config.merge_patch(patch);
    write_json(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  };
  const auto token = [](const char* text, const char* flag = "special") {
    return json{{"content", text}, {flag, true}};
  };
  using Ids = std::vector<int32_t>;
  const std::string text = "a <obj> b";
  const Ids unknown = {64, 1039, 78, 758, 29, 283}, known = {64, 220, 1770, 283};
  EXPECT_EQ(with(json::object()).encode(text), unknown);
  for (const json& patch :
       {json{{"added_tokens_decoder", {{"1770", token("<obj>")}}}},
        json{{"additional_special_tokens", {"<|im_end|>", "<obj>"}}},
        json{{"extra_special_tokens", {"<|im_end|>", "<obj>"}}},
        json{{"extra_special_tokens", {{"object_token", "<obj>"}}}}, json{{"pad_token", token("<obj>")}}})
    EXPECT_EQ(with(patch).encode(text), known) << patch;
  EXPECT_EQ(with({{"eos_token", "<e1>"},
                  {"pad_token", "<p1>"},
                  {"additional_special_tokens", {"<a1>", "<a2>"}},
                  {"added_tokens_decoder", {{"1771", token("<d2>")}, {"1770", token("<d1>")}}}})
                .encode("<e1><p1><a1><a2><d1><d2>"),
            (Ids{1772, 1773, 1774, 1775, 1770, 1771}));
  const auto refused = [&](const std::string& sentence, const json& patch) {
    expect_error(Exit::data, "tokenizer_config.json: " + sentence, [&] { with(patch); });
  };
  refused("added token \"<obj>\" has id 1780, but transformers gives it 1770, the next free one",
          {{"added_tokens_decoder", {{"1780", token("<obj>")}}}});
  refused("token \"<|im_end|>\" has id 1780, in tokenizer.json 1758",
          {{"added_tokens_decoder", {{"1758", nullptr}, {"1780", token("<|im_end|>")}}}});
  EXPECT_EQ(with(json::object()).encode("<|im_end|> a"), (Ids{1758, 286}));
  EXPECT_EQ(with({{"added_tokens_decoder", {{"1758", token("<|im_end|>", "rstrip")}}}}).encode("<|im_end|> a"),
            (Ids{1758, 64}));
  refused("added token \"<|im_end|>\" has single_word",
          {{"added_tokens_decoder", {{"1758", token("<|im_end|>", "single_word")}}}});
  refused("added token \"<obj>\" has single_word", {{"pad_token", token("<obj>", "single_word")}});
  refused("extra_special_tokens adds \"<obj>\" beside additional_special_tokens, which versions",
          {{"additional_special_tokens", {"<a1>"}}, {"extra_special_tokens", {{"object_token", "<obj>"}}}});
  refused("split_special_tokens is true", {{"split_special_tokens", true}});
  refused("add_prefix_space is true", {{"add_prefix_space", true}});
  write_text(folder / "tokenizer_config.json", "{");
  expect_error(Exit::data, "tokenizer_config.json: not valid JSON", [&] { Tokenizer::load(folder.path()); });
  std::filesystem::remove(folder / "tokenizer_config.json");
  json gap = read_json(tiny / "tokenizer.json");
  gap["added_tokens"].push_back({{"id", 1790}, {"content", "<obj>"}});
  write_json(folder / "tokenizer.json", gap);
  expect_error(Exit::data, "tokenizer.json: added token \"<obj>\" has id 1790, but transformers gives it 1770",
               [&] { Tokenizer::load(folder.path()); });
}

// Ids of transformers 4.52.3 and 4.57.6. In upper case, an end is found if it is "normalized", as it is without flags.
TEST(TokenizerFiles, OldFilesOfClipNameTheEnds) {
  const TemporaryFolder folder("old-clip");
  for (const char* file : {"vocab.json", "merges.txt"})
    std::filesystem::copy_file(golden("clip/model") / file, folder / file);
  const auto encoded = [&](json config, const char* text) {
    config["tokenizer_class"] = "CLIPTokenizer";
    write_json(folder / "tokenizer_config.json", config);
    return Tokenizer::load(folder.path()).encode_with_ends(text);
  };
  const auto token = [](const char* text, bool normalized) {
    return json{{"content", text}, {"normalized", normalized}, {"__type", "AddedToken"}};
  };
  using Ids = std::vector<int32_t>;
  const char* upper = "<|STARTOFTEXT|> a <|EndOfText|>b";
  const json hub = {{"bos_token", token("<|startoftext|>", true)},
                    {"eos_token", token("<|endoftext|>", true)},
                    {"unk_token", token("<|endoftext|>", true)},
                    {"pad_token", "<|endoftext|>"},
                    {"add_prefix_space", false},
                    {"do_lower_case", true}};
  for (const json& config :
       {hub, json{{"bos_token", "<|startoftext|>"}, {"eos_token", "<|endoftext|>"}}, json::object()}) {
    EXPECT_EQ(encoded(config, upper), (Ids{1412, 1412, 320, 1413, 321, 1413})) << config;
    EXPECT_EQ(encoded(config, "<|startoftext|>x<|endoftext|>"), (Ids{1412, 1412, 343, 1413, 1413})) << config;
  }
  json exact = hub;
  exact["eos_token"]["normalized"] = false;
  EXPECT_EQ(encoded(exact, upper), (Ids{1412, 1412, 320, 27, 347, 524, 639, 69, 600, 1052, 91, 285, 321, 1413}));
  exact = hub;
  exact["additional_special_tokens"] = {"<obj>"};
  EXPECT_EQ(encoded(exact, "a <obj> b <OBJ>"), (Ids{1412, 320, 1414, 321, 283, 1411, 329, 285, 1413}));
  exact["bos_token"] = "<s>";  // not in the vocabulary: the next id
  EXPECT_EQ(encoded(exact, "a"), (Ids{1414, 320, 1413}));
}

// Ids of tokenizers 0.21.4 and 0.23.3: tokens that are "normalized" are found after the others, in text of Form C,
// where they stand in Form C themselves; the others are found as they are spelled.
TEST(TokenizerFiles, NormalizedTokensAreFoundInNormalisedText) {
  json file = read_json(golden("qwen2_vl/tiny/tokenizer.json"));
  const auto add = [&](int id, const char* text, bool normalized) {
    file["added_tokens"].push_back({{"id", id}, {"content", text}, {"normalized", normalized}, {"special", false}});
  };
  add(1770, "<obj>", true), add(1771, "cafe\u0301", true), add(1772, "<obj>2", true), add(1773, "\u00E9!", false);
  add(1774, "bj><|im", true);
  const TemporaryFolder folder("normalized");
  write_json(folder / "tokenizer.json", file);
  const auto check = [&](const std::filesystem::path& from) {
    const Tokenizer tokenizer = Tokenizer::load(from);
    const auto ids = [&](const char* text) { return tokenizer.encode(text); };
    using Ids = std::vector<int32_t>;
    EXPECT_EQ(ids("a <obj> b"), (Ids{64, 220, 1770, 283}));
    EXPECT_EQ(ids("<obj><obj>2<obj>"), (Ids{1770, 1772, 1770}));
    EXPECT_EQ(ids("un caf\u00E9 noir"), (Ids{311, 220, 1771, 318, 78, 368}));
    EXPECT_EQ(ids("un cafe\u0301 noir"), (Ids{311, 220, 1771, 318, 78, 368}));
    EXPECT_EQ(ids("e\u0301!"), (Ids{285, 0}));
    EXPECT_EQ(ids("\u00E9!"), Ids{1773});
    EXPECT_EQ(ids("caf\u00E9!"), (Ids{766, 69, 1773}));
    EXPECT_EQ(ids("x<obj><|im_end|>y"), (Ids{87, 1770, 1758, 88}));
    EXPECT_EQ(ids("cafe\u0301\u0323"), (Ids{766, 69, 157, 118, 117, 136, 223}));
  };
  check(folder.path());
  split_tokenizer(folder / "tokenizer.json", folder.path());
  std::filesystem::remove(folder / "tokenizer.json");
  check(folder.path());
}

// Pairs of tokenizers 0.21.4: marks that Unicode 9.0 knows change places, later ones (U+1AC2, U+11A34) do not.
TEST(NormalizeNfc, IsThatOfTheReferencesUnicode) {
  EXPECT_EQ(normalize_nfc("b\u0301\u0323"), "\u1E05\u0301");
  EXPECT_EQ(normalize_nfc("\u1AC2\u031B"), "\u1AC2\u031B");
  EXPECT_EQ(normalize_nfc("\u302B\U00011A34"), "\u302B\U00011A34");
  EXPECT_EQ(normalize_nfc("e\u0301\u1AC2e\u0301"), "\u00E9\u1AC2\u00E9");
  EXPECT_EQ(normalize_nfc("\U00011935\U00011930"), "\U00011935\U00011930");  // composes since Unicode 13
}

}  // namespace
}  // namespace vlm2vec
