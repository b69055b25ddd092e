// The parts of a tokenizer one by one. What they give is what Hugging Face's tokenizers 0.21.4 and 0.23.3 give.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "tensor/random.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/pretokenizer.h"
#include "vlm/tokenizer/splitter.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Words = std::vector<std::string_view>;

json split(const std::string& pattern, const char* behavior = "Isolated", bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

json steps(const json& first, bool use_regex = false) {
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
  return {{"type", "Sequence"}, {"pretokenizers", {first, bytes}}};
}

TEST(SearchPattern, FindsMatchesFromLeftToRight) {
  const auto found = [](const char* pattern, std::string_view text) {
    Words words;
    for (const auto [begin, end] : search_pattern(pattern).matches(text))
      words.push_back(text.substr(begin, end - begin));
    return words;
  };
  EXPECT_EQ(found("b$|^x", "x1b\nxx"), (Words{"x", "b", "x"}));
  EXPECT_EQ(found("x*", "a\u00E9xx"), (Words{"", "", "xx"}));
  EXPECT_EQ(found("\\p{L}+", "caf\u00E9 \u5317\u4EAC1"), (Words{"caf\u00E9", "\u5317\u4EAC"}));
  EXPECT_EQ(found("(?i:'s)", "'S'\u017F's"), (Words{"'S", "'\u017F", "'s"}));
  EXPECT_EQ(found("x", ""), Words{});
}

// U+0085 and U+3000 are white space, U+180E, U+200B and U+001C are not: Unicode's property, neither PCRE2's nor
// Python's.
TEST(SearchPattern, WhiteSpaceIsUnicodes) {
  const std::string text = "\u3000\u0085a\u180E\u200B\x1C";
  for (const auto& [pattern, begin, end] :
       {std::tuple{"\\s+", 0, 5}, {"[\\s]+", 0, 5}, {"[^\\s]+", 5, 13}, {"\\S+", 5, 13}}) {
    const auto matches = search_pattern(pattern).matches(text);
    ASSERT_EQ(matches.size(), 1u) << pattern;
    EXPECT_EQ(int(matches[0].begin), begin) << pattern;
    EXPECT_EQ(int(matches[0].end), end) << pattern;
  }
}

TEST(SearchPattern, RefusesWhatItWouldMisread) {
  for (const char* pattern : {"[a[bc]]", "[[:alpha:]]", "[a&&b]", "[\\S]"})
    expect_error(Exit::data, "within a class; this program reads", [&] { search_pattern(pattern); });
  for (const char* pattern : {"\\h", "\\w+", "a\\b", "[\\W]"})
    expect_error(Exit::data, "\"; this program reads", [&] { search_pattern(pattern); });
  expect_error(Exit::data, "not a regular expression at character 2 (missing closing parenthesis): (a",
               [] { search_pattern("(a"); });
  expect_error(Exit::data, "text is not UTF-8 at byte 3", [] { search_pattern("x").matches("abc\xE9"); });
  EXPECT_EQ(search_pattern("\\[\\\\s]?").matches("[\\s]").size(), 1u);  // neither a class nor white space
}

TEST(Splitter, KeepsWhatTheBehaviourSays) {
  const std::string text = "x1, \u180Eab\nxx b2";
  const auto words = [&](const char* pattern, const char* behavior, bool invert) {
    return Splitter(steps(split(pattern, behavior, invert))).words(text);
  };
  for (const bool invert : {false, true}) {
    EXPECT_EQ(words("\\s+", "Isolated", invert), (Words{"x1,", " ", "\u180Eab", "\n", "xx", " ", "b2"}));
    EXPECT_EQ(words("b$|^x", "Isolated", invert), (Words{"x", "1, \u180Ea", "b", "\n", "x", "x b2"}));
  }
  EXPECT_EQ(words("\\s+", "Removed", false), (Words{"x1,", "\u180Eab", "xx", "b2"}));
  EXPECT_EQ(words("\\s+", "Removed", true), (Words{" ", "\n", " "}));
  EXPECT_EQ(words("x*", "Removed", false), (Words{"1", ",", " ", "\u180E", "a", "b", "\n", " ", "b", "2"}));
  EXPECT_EQ(words("[^\\s,]+", "Removed", true), (Words{"x1", "\u180Eab", "xx", "b2"}));
  EXPECT_EQ(Splitter(steps(split("\\s+"))).words(""), Words{});
}

TEST(Splitter, ByteLevelSplitsAsGpt2) {
  const Words expected = {"Hello", " ", " world", "'s", " 123", " !?", "\n", "\n", "x", " \u180E", "\u0085", "y"};
  const std::string text = "Hello  world's 123 !?\n\nx \u180E\u0085y";
  EXPECT_EQ(Splitter({{"type", "ByteLevel"}, {"add_prefix_space", false}}).words(text), expected);
  EXPECT_EQ(Splitter(steps(split("w"), true)).words("a  was"), (Words{"a", "  ", "w", "as"}));
}

TEST(Splitter, RefusesOtherSteps) {
  const auto refused = [](const std::string& sentence, const json& part) {
    expect_error(Exit::data, sentence, [&] { Splitter{part}; });
  };
  refused("the pre_tokenizer is \"Whitespace\"", {{"type", "Whitespace"}});
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "second"}};
  refused("the Metaspace pre_tokenizer has prepend_scheme \"second\"", metaspace);
  refused("the pre_tokenizer's step 1 of 2 is \"Metaspace\"", steps(metaspace));
  refused("the Metaspace pre_tokenizer has an empty replacement", {{"type", "Metaspace"}, {"replacement", ""}});
  refused("the pre_tokenizer's step 1 of 2 is \"Digits\"", steps({{"type", "Digits"}}));
  refused("the pre_tokenizer's step 1 of 1 is \"Split\"",
          {{"type", "Sequence"}, {"pretokenizers", json::array({split("a")})}});
  refused("the pre_tokenizer has no steps", {{"type", "Sequence"}, {"pretokenizers", json::array()}});
  refused("the split's behavior is \"MergedWithNext\"", steps(split("a", "MergedWithNext")));
  json literal = split("a");
  literal["pattern"] = {{"String", " "}};
  refused("the split pattern is {\"String\":\" \"}", steps(literal));
  refused("add_prefix_space", {{"type", "ByteLevel"}, {"add_prefix_space", true}});
}

// Random strings of many scripts: the hand-written matcher of Qwen2 and Llama-3 against their patterns.
class FastPath : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Patterns, FastPath, testing::Values(qwen2_split_pattern, llama3_split_pattern));

TEST_P(FastPath, IsThePattern) {
  const Splitter fast(steps(split(std::string(GetParam()))));
  const Splitter pattern(steps(split("(?:" + std::string(GetParam()) + ")")));
  const std::vector<std::string> common = {"'s",     "'LL",  "'\u017F", "'r",     "'",          " ",         "  ",
                                           "\n",     "\r\n", "\t",      "\u00A0", "\u0085",     "\u3000",    "\u180E",
                                           "\u200B", "\x1C", "a",       "Ab",     "1",          "\u00BD",    "\u2167",
                                           "!",      "(",    "\u0301",  "\u0345", "\U0001F600", "\U00020000"};
  Random random(7);
  for (int n = 0; n < 3000; ++n) {
    std::string text;
    for (uint32_t length = 1 + random.below(24); length > 0; --length) {
      const uint32_t code = 0x80 + random.below(0xD780 - 0x80);
      if (random.below(3) > 0) text += common[random.below(uint32_t(common.size()))];
      else if (code < 0x800) text += {char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))};
      else text += {char(0xE0 | code >> 12), char(0x80 | (code >> 6 & 0x3F)), char(0x80 | (code & 0x3F))};
    }
    ASSERT_EQ(fast.words(text), pattern.words(text)) << json(text);
  }
}

TEST(LowerCase, GoesCharacterByCharacter) {
  EXPECT_EQ(lower_case("Az \u0130\u039F\u0394\u039F\u03A3 \u212A\u01C5\u1E9E1"),
            "az i\u0307\u03BF\u03B4\u03BF\u03C3 k\u01C6\u00DF1");
  EXPECT_EQ(lower_case(std::string_view("A\0B", 3)), std::string("a\0b", 3));
  EXPECT_THROW(lower_case("caf\xE9"), Error);
}

TEST(Normalizer, DoesItsStepsInOrder) {
  const json spaces = {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}};
  const json all = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, spaces, {{"type", "Lowercase"}}}}};
  EXPECT_EQ(Normalizer(all)("\u0130 \u212AE\u0301 \n\u3000\u0085x\u180E \u200B\x1C\u01C5  "),
            "i\u0307 k\u00E9 x\u180E \u200B\x1C\u01C6 ");
  EXPECT_EQ(Normalizer(nullptr)("E\u0301 "), "E\u0301 ");
  const Normalizer prepend(json{{"type", "Prepend"}, {"prepend", "_"}});
  EXPECT_EQ(prepend("_a"), "__a");
  EXPECT_EQ(prepend(""), "");
  const auto refused = [](const std::string& sentence, const json& part) {
    expect_error(Exit::data, sentence, [&] { Normalizer{part}; });
  };
  refused("the normalizer is \"NFKC\"",
          {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "NFKC"}}}}});
  refused("the Replace normalizer's pattern is {\"String\":\"\"}",
          {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "_"}});
}

class PostProcessor : public testing::Test {
 protected:
  Tokenizer with(const json& post_processor) const {
    json file = read_json(golden("qwen2_vl/tiny/tokenizer.json"));
    file["post_processor"] = post_processor;
    write_json(folder_ / "tokenizer.json", file);
    return Tokenizer::load(folder_.path());
  }
  const TemporaryFolder folder_{"post-processor"};
};

json roberta(int start = 1757, const char* end = "<|im_end|>") {
  return {{"type", "RobertaProcessing"}, {"cls", {"<|im_start|>", start}}, {"sep", {end, 1758}}};
}

json one_template(const json& single) {
  const auto token = [](const char* text, int id) { return json{{"id", text}, {"ids", {id}}, {"tokens", {text}}}; };
  return {
      {"type", "TemplateProcessing"},
      {"single", single},
      {"special_tokens", {{"<|im_start|>", token("<|im_start|>", 1757)}, {"<|im_end|>", token("<|im_end|>", 1758)}}}};
}

json piece(const char* kind, const char* id) { return {{kind, {{"id", id}, {"type_id", 0}}}}; }

TEST_F(PostProcessor, PutsItsTokensAroundATextAndKeepsThem) {
  using Ids = std::vector<int32_t>;
  const json start = piece("SpecialToken", "<|im_start|>"), end = piece("SpecialToken", "<|im_end|>");
  json bert = roberta();
  bert["type"] = "BertProcessing";
  for (const json& post_processor : {bert, roberta(), one_template({start, piece("Sequence", "A"), end})}) {
    const Tokenizer tokenizer = with(post_processor);
    EXPECT_EQ(tokenizer.begin_ids(), Ids{1757});
    EXPECT_EQ(tokenizer.end_ids(), Ids{1758});
    EXPECT_EQ(tokenizer.encode("a <obj> b"), (Ids{64, 1039, 78, 758, 29, 283}));
    EXPECT_EQ(tokenizer.encode_with_ends("a <obj> b"), (Ids{1757, 64, 1039, 78, 758, 29, 283, 1758}));
    EXPECT_EQ(tokenizer.encode_with_ends("a <obj> b", 8), (Ids{1757, 64, 1039, 78, 758, 29, 283, 1758}));
    EXPECT_EQ(tokenizer.encode_with_ends("a <obj> b", 7), (Ids{1757, 64, 1039, 78, 758, 29, 1758}));
    EXPECT_EQ(tokenizer.encode_with_ends("a <obj> b", 2), (Ids{1757, 1758}));
    EXPECT_EQ(tokenizer.encode_with_ends(""), (Ids{1757, 1758}));
    expect_error(Exit::usage, "--max_len 1 has no room for the 2 tokens around every text",
                 [&] { tokenizer.encode_with_ends("a", 1); });
  }
  const Tokenizer only_start = with(one_template({start, start, piece("Sequence", "A")}));
  EXPECT_EQ(only_start.encode_with_ends("a <obj> b", 4), (Ids{1757, 1757, 64, 1039}));
  const json nested = {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, roberta(), roberta()}}};
  EXPECT_EQ(with(nested).encode_with_ends("a"), (Ids{1757, 1757, 64, 1758, 1758}));
  for (const json& none : {json(nullptr), json{{"type", "ByteLevel"}}})
    EXPECT_EQ(with(none).encode_with_ends("a <obj> b", 2), (Ids{64, 1039}));
}

TEST_F(PostProcessor, RefusesOthersByName) {
  const auto refused = [&](const std::string& sentence, const json& part) {
    expect_error(Exit::data, "tokenizer.json: the post_processor " + sentence, [&] { with(part); });
  };
  refused("is \"Unknown\"", {{"type", "Unknown"}});
  refused("has \"<|im_start|>\" with id 1756, which is not", roberta(1756));
  refused("has \"<end>\" with id 1758, which is not", roberta(1757, "<end>"));
  refused("has a template for more than a text", one_template({piece("Sequence", "A"), piece("Sequence", "B")}));
  refused("has a template without a text", one_template(json::array({piece("SpecialToken", "<|im_end|>")})));
}

}  // namespace
}  // namespace vlm2vec
