// Tokenizers of SentencePiece's kind: a blank is a mark that is part of a token. Ids of tokenizers 0.21.4.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "vlm/tokenizer/splitter.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

// A Llama-like tokenizer of 14 tokens, of whose bytes only those of é and € are there.
class MarkedBlanks : public testing::Test {
 protected:
  Tokenizer with(const json& patch = json::object(), const json& added = json::array()) const {
    json vocab;
    for (int id = 0; const char* token : {"<unk>", "<s>", "<0xC3>", "<0xA9>", "▁", "a", "b", "ab", "▁ab",
                                          "▁a", "c", "<0xE2>", "<0x82>", "<0xAC>"})
      vocab[token] = id++;
    json file = json::parse(R"({"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null, "post_processor": null, "added_tokens": [{"id": 1, "content": "<s>"}],
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                  "merges": ["a b", "▁ a", "▁ ab"]}})");
    for (const json& token : added) {
      file["added_tokens"].push_back(token);
      file["added_tokens"].back()["id"] = 12 + int(file["added_tokens"].size());
    }
    file["model"]["vocab"] = vocab;
    file.merge_patch(patch);
    if (patch.contains("normalizer")) file["normalizer"] = patch["normalizer"];  // also null
    write_json(folder_ / "tokenizer.json", file);
    return Tokenizer::load(folder_.path());
  }
  const TemporaryFolder folder_{"marked-blanks"};
};

json model(const char* option, const json& value) { return {{"model", {{option, value}}}}; }

using Cases = std::vector<std::pair<const char*, Ids>>;

void expect(const Tokenizer& tokenizer, const Cases& cases) {
  for (const auto& [text, ids] : cases) EXPECT_EQ(tokenizer.encode(text), ids) << json(text);
}

TEST_F(MarkedBlanks, EveryPieceBeginsWithAMark) {
  expect(with(), {{"", {}},
                  {"ab", {8}},
                  {" ab", {4, 8}},
                  {"a b", {9, 4, 6}},
                  {"  ab", {4, 4, 8}},
                  {"▁ab", {4, 8}},
                  {"<s>ab", {1, 8}},
                  {"<s> ab", {1, 4, 8}},
                  {"ab<s>", {8, 1}},
                  {"cab", {4, 10, 7}},
                  {"abababab", {8, 7, 7, 7}}});
}

TEST_F(MarkedBlanks, UnknownCharactersBecomeBytesOrOneUnknownToken) {
  expect(with(), {{"é", {4, 2, 3}},
                  {"€", {4, 11, 12, 13}},
                  {"èç", {4, 0}},
                  {"aèçb", {9, 0, 6}},
                  {"è€ç€", {4, 11, 12, 13, 11, 12, 13, 0}}});  // tokens of bytes pass an unknown one
  expect(with(model("fuse_unk", false)),
         {{"èç", {4, 0, 0}}, {"aèçb", {9, 0, 0, 6}}, {"è€ç€", {4, 11, 12, 13, 0, 11, 12, 13, 0}}});
  expect(with(model("byte_fallback", false)), {{"é", {4, 0}}, {"aéèb", {9, 0, 6}}, {"éa€", {4, 0, 5, 0}}});
  expect(with(model("unk_token", nullptr)), {{"è", {4}}, {"aèb", {8}}, {"é", {4, 2, 3}}});
  expect_error(Exit::data, "the model's unk_token \"<none>\" is not in the vocabulary",
               [&] { with(model("unk_token", "<none>")); });
  expect_error(Exit::data, "text is not UTF-8 at byte", [&] { with().encode("a\xE9"); });
}

TEST_F(MarkedBlanks, AWholeWordIsATokenWithoutMerges) {
  const json merges = {{"model", {{"merges", {"a b"}}, {"ignore_merges", true}}}};
  expect(with(merges), {{"ab", {8}}, {"a", {9}}, {"abab", {4, 7, 7}}});
  expect(with(model("merges", {"a b"})), {{"ab", {4, 7}}, {"a", {4, 5}}});
}

TEST_F(MarkedBlanks, MetaspaceMarksBySchemeAndSplits) {
  for (const char* scheme : {"always", "first", "never"})
    for (const bool split : {true, false}) {
      SCOPED_TRACE(std::string(scheme) + (split ? ", split" : ""));
      const bool always = scheme[0] == 'a', never = scheme[0] == 'n';
      const json metaspace = {
          {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", split}};
      const int first = never ? 7 : 8, later = always ? 8 : 7;
      expect(with({{"normalizer", nullptr}, {"pre_tokenizer", metaspace}}),
             {{"", {}},
              {" ", {4}},
              {"ab", {first}},
              {" ab", {8}},
              {"▁ab", {8}},
              {"a  b", {never ? 5 : 9, 4, 4, 6}},
              {"<s>ab", {1, later}},
              {"<s> ab", {1, 8}},
              {"ab<s>ab", {first, 1, later}},
              {" <s>ab", {4, 1, later}}});
    }
  const json words = {{"type", "Metaspace"}, {"replacement", "▁"}};
  EXPECT_EQ(Splitter(words).words("a▁▁bc▁"), (std::vector<std::string_view>{"a", "▁", "▁bc", "▁"}));
  EXPECT_EQ(Splitter(words).rewritten(" a", false), "▁a");
  const json old = {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}, {"split", false}};
  EXPECT_EQ(Splitter(old).rewritten("a b", true), "a_b");
  EXPECT_EQ(Splitter(old).words("a_b"), (std::vector<std::string_view>{"a_b"}));
}

TEST_F(MarkedBlanks, AreThoseOfUnigramToo) {
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "always"}};
  json patch = {{"normalizer", nullptr}, {"pre_tokenizer", metaspace}};
  patch["model"] = json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab":
      [["<unk>", 0], ["<s>", 0], ["▁", -2], ["▁a", -3], ["b", -1.5]]})");
  expect(with(patch), {{"ab a", {3, 4, 3}}, {"<s>b", {1, 2, 4}}, {"xé", {2, 0}}});
  patch["model"]["unk_id"] = 5;
  expect_error(Exit::data, "the model's unk_id is 5, but there are 5 tokens", [&] { with(patch); });
  patch["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  expect_error(Exit::data, "the model Unigram comes after a ByteLevel pre_tokenizer", [&] { with(patch); });
  patch["model"]["vocab"] = json::array({json::array({"a", "b"})});
  expect_error(Exit::data, "token 0 of the vocabulary is not [\"token\", score]", [&] { with(patch); });
}

TEST_F(MarkedBlanks, AddedTokensTakeTheWhiteSpaceThatTheirFlagsSay) {
  const json added = {{{"content", "<l>"}, {"lstrip", true}},
                      {{"content", "<r>"}, {"rstrip", true}},
                      {{"content", "<n>"}, {"normalized", true}},
                      {{"content", "<lr>"}, {"lstrip", true}, {"rstrip", true}},
                      {{"content", "\nx"}},
                      {{"content", "b b"}, {"normalized", true}}};
  expect(with(json::object(), added), {{"a <l> b", {9, 14, 4, 4, 6}},
                                       {"a <r> b", {9, 4, 15, 4, 6}},
                                       {"a \u3000<r>\n\u0085\t b", {9, 4, 0, 15, 4, 6}},
                                       {"a <lr> <lr> b", {9, 17, 17, 4, 6}},
                                       {"<l> <r>", {14, 4, 4, 15}},
                                       {"<r> <l>", {15, 14}},
                                       {" <l>", {14}},
                                       {"<r> ", {15}},
                                       {"a\x1c<l>\x1c", {9, 0, 14, 4, 0}},
                                       {"<r>\nxa", {15, 18, 9}},  // a token may begin in what another has taken
                                       {"a<n>b", {9, 0, 6}},      // spelled "▁<n>" where it is looked for
                                       {" <n>", {4, 16}},
                                       {"a <n> b", {9, 16, 4, 6}},
                                       {"ab b", {8, 4, 6}},
                                       {"b b", {19}}});
  const json first = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  expect(with({{"normalizer", nullptr}, {"pre_tokenizer", first}}, added),
         {{"a <n> b", {9, 4, 16, 4, 6}}, {"<n>b", {16, 6}}, {"<r> b", {15, 6}}});
}

}  // namespace
}  // namespace vlm2vec
