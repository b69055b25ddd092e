// Unigram, WordPiece and the texts that they are made for. What is expected is what tokenizers 0.21.4 gives, unless it
// is said.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/base64.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "vlm/tokenizer/bert.h"
#include "vlm/tokenizer/charsmap.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/sentencepiece.h"
#include "vlm/tokenizer/splitter.h"
#include "vlm/tokenizer/unigram.h"
#include "vlm/tokenizer/wordpiece.h"

namespace vlm2vec {
namespace {

using namespace std::string_literals;
using nlohmann::json;
using Ids = std::vector<int32_t>;
using Tokens = std::vector<std::string>;

Ids encode(const TokenModel& model, std::string_view word) {
  Ids ids;
  if (!word.empty()) model.encode({&word, 1}, ids);
  return ids;
}

Unigram unigram(const Unigram::Options& options) {
  const Tokens tokens = {"<unk>", "a", "b", "ab", "abc", "c", "bc", "aa", "é", "<0xC3>", "<0xA8>"};
  return {std::make_shared<Vocabulary>(tokens), {0, -1, -2, -3, -9, -5, -6, -2, -4, -7, -7.5}, options};
}

TEST(Unigram, TakesTheBestSumAndOfEqualOnesTheLongestLastToken) {
  const Unigram model = unigram({.unknown = 0, .byte_fallback = false, .in_floats = false});
  EXPECT_EQ(encode(model, "ab"), Ids{3});  // a b is as good
  EXPECT_EQ(encode(model, "abc"), (Ids{1, 6}));
  EXPECT_EQ(encode(model, "aaa"), (Ids{1, 7}));
  EXPECT_EQ(encode(model, "aaaa"), (Ids{7, 7}));
  EXPECT_EQ(encode(model, "é"), Ids{8});
}

// By hand.
TEST(Unigram, RoundsSumsToFloatsAsSentencePieceDoes) {
  const auto vocabulary = std::make_shared<Vocabulary>(Tokens{"<unk>", "a", "b", "c", "bc"});
  const float a = -16777216, b = -1, c = -1;
  for (const bool in_floats : {false, true}) {  // as floats, a b is as much as a, and a b c as a
    const Unigram model(vocabulary, {0, a, b, c, -1.5}, {.unknown = 0, .byte_fallback = false, .in_floats = in_floats});
    EXPECT_EQ(encode(model, "abc"), in_floats ? (Ids{1, 2, 3}) : (Ids{1, 4}));
  }
}

TEST(Unigram, UnknownCharactersShareATokenOrBecomeBytes) {
  const Unigram plain = unigram({.unknown = 0, .byte_fallback = false, .in_floats = false});
  for (const char* text : {"è", "èè", "<unk>", "x<unk>y"}) EXPECT_EQ(encode(plain, text), Ids{0}) << text;
  EXPECT_EQ(encode(plain, "aèçb"), (Ids{1, 0, 2}));
  const Unigram bytes = unigram({.unknown = 0, .byte_fallback = true, .in_floats = false});
  EXPECT_EQ(encode(bytes, "èè"), (Ids{9, 10, 9, 10}));
  EXPECT_EQ(encode(bytes, "aèb"), (Ids{1, 9, 10, 2}));
  for (const char* text : {"ç", "èç", "<unk>", "x<unk>"}) EXPECT_EQ(encode(bytes, text), Ids{0}) << text;
  Tokens all = {"<unk>", "a"};
  for (const char* digits = "0123456789ABCDEF"; const char high : std::string_view(digits))
    for (const char low : std::string_view(digits)) all.push_back("<0x"s + high + low + ">");
  std::vector<double> scores(all.size(), -9);
  scores[0] = 0, scores[1] = -1;
  const Unigram::Options with_bytes = {.unknown = 0, .byte_fallback = true, .in_floats = false};
  const Unigram every(std::make_shared<Vocabulary>(all), scores, with_bytes);
  EXPECT_EQ(encode(every, "a<unk>a"), (Ids{1, 0, 1}));  // spelled out, it is the token
  EXPECT_EQ(encode(every, "<unk>b"), (Ids{62, 119, 112, 109, 64, 100}));
  const Unigram none = unigram({.unknown = {}, .byte_fallback = true, .in_floats = false});
  EXPECT_EQ(encode(none, "ab"), Ids{3});
  expect_error(Exit::data, "the tokenizer has no token for \"è\"", [&] { encode(none, "aè"); });
  expect_error(Exit::data, "text is not UTF-8 at byte", [&] { encode(plain, "a\xE9"); });
}

TEST(WordPiece, TakesTheLongestTokenAtEveryPlace) {
  const Vocabulary vocabulary({"[UNK]", "un", "##aff", "##able", "una", "##ff", "able", "##a", "é", "##é", "!", "##",
                               "##!", "aff"});
  const WordPiece model(vocabulary, {.unknown = 0, .prefix = "##", .most_characters = 6});
  EXPECT_EQ(encode(model, "unaff"), (Ids{4, 5}));
  EXPECT_EQ(encode(model, "unaffa"), (Ids{4, 5, 7}));
  EXPECT_EQ(encode(model, "able"), Ids{6});
  EXPECT_EQ(encode(model, "éééééé"), (Ids{8, 9, 9, 9, 9, 9}));
  for (const char* text : {"ééééééé", "unaable", "affable", "unx", "a"})
    EXPECT_EQ(encode(model, text), Ids{0}) << text;
  const WordPiece other(Vocabulary({"[UNK]", "a", "_b", "b"}), {.unknown = 0, .prefix = "_", .most_characters = 9});
  EXPECT_EQ(encode(other, "abb"), (Ids{1, 2, 2}));
  EXPECT_EQ(encode(other, "b"), Ids{3});
  const std::string_view words[] = {"ab", "c", "b"};
  Ids ids;
  other.encode(words, ids);
  EXPECT_EQ(ids, (Ids{1, 2, 0, 3}));
}

TEST(BertText, IsCleanedAndStripped) {
  const std::string text = "Héllo\t\0W\u200BÖ\n中国x"s;
  EXPECT_EQ(BertText().normalized(text), "hello wo  中  国 x");
  EXPECT_EQ(BertText{.strip_accents = false}.normalized(text), "héllo wö  中  国 x");
  EXPECT_EQ(BertText{.lowercase = false}.normalized(text), "Hello WO  中  国 x");
  EXPECT_EQ(BertText{.clean_text = false}.normalized(text), "hello\t\0w\u200Bo\n 中  国 x"s);
  EXPECT_EQ(BertText{.handle_chinese_chars = false}.normalized(text), "hello wo 中国x");
  // Marks that are newer than Unicode 7 stay; U+1734 was a mark then.
  EXPECT_EQ(BertText().normalized("\u0130I\u0307 e\u0301\u0323 \u1ABFa\u1734\u08E1"), "ii e \u1ABFa\u08E1");
  EXPECT_EQ(BertText().normalized("\u110Cd\U000110CD \uFFFD\uE000\x7F\u0085 \U0002B820\U0002B920"),
            "\u110Cd\U000110CD  \U0002B820 \U0002B920 ");
  EXPECT_EQ(BertText().normalized("가 Å ÀÉ"), "\u1100\u1161 a ae");
}

TEST(BertText, EveryPunctuationMarkIsAWord) {
  std::vector<std::string_view> words;
  split_bert_words_into("a.b,,c$ \u3000x\u2019s\u061Dq\u166D\U000111C9z `^|~ \u00A7 a_b ", words);
  EXPECT_EQ(words, (std::vector<std::string_view>{"a", ".", "b", ",", ",", "c", "$", "x", "\u2019", "s\u061Dq",
                                                  "\u166D", "\U000111C9", "z", "`", "^", "|", "~", "\u00A7",
                                                  "a", "_", "b"}));
  EXPECT_EQ(Splitter(json{{"type", "BertPreTokenizer"}}).words("a.b").size(), 3u);
}

TEST(Normalizer, StripsWhiteSpace) {
  const auto strip = [](bool left, bool right) {
    return Normalizer(json{{"type", "Strip"}, {"strip_left", left}, {"strip_right", right}})(" \u3000a b\u0085\n");
  };
  EXPECT_EQ(strip(false, true), " \u3000a b");
  EXPECT_EQ(strip(true, false), "a b\u0085\n");
  EXPECT_EQ(strip(true, true), "a b");
}

class SiglipCharsmap : public testing::Test {
 protected:
  SentencePieceFile file() const {
    EXPECT_TRUE(std::filesystem::exists(golden("siglip/model/spiece.model"))) << "the collection has no siglip";
    return SentencePieceFile::read(golden("siglip/model/spiece.model"));
  }
};

// The reference goes by graphemes, and a grapheme's first rule replaces all of it.
TEST_F(SiglipCharsmap, GoesByGraphemes) {
  const std::string map = file().charsmap;
  const json part = {{"type", "Precompiled"},
                     {"precompiled_charsmap", base64({reinterpret_cast<const uint8_t*>(map.data()), map.size()})}};
  const Normalizer normalizer(part);
  for (const auto& [text, expected] : std::vector<std::pair<std::string, std::string>>{
           {"a\u0301 \uFB01 \u2460 \u2167", "\u00E1 fi 1 VIII"},
           {"\u30AB\u309A", "\u30AB\u309A"},
           {"e\u0301\u0323", "\u00E9"},
           {"\u1100\u1161\u11A8", "\u1100\u1161\u11A8"},
           {"\uAC00", "\uAC00"},
           {"a\u200Bb\u3000c\u00A0", "a b c "},
           {"\r\n\t", "  "},
           {"\U0001F468\u200D\U0001F469", "\U0001F468\u200D\U0001F469"},
           {"\u304B\u3099\u304B", "\u304B\u3099\u304B"},
           {"\u0958\u093C", "\u0915\u093C\u093C"},
           {"\uFB01\u0301", "fi"},
           {"\u00BD\u0338", "1\u20442"},
           {"a\u0301b", "\u00E1b"},
           {"\u00C5\u0323", "\u00C5\u0323"},
           {"\uFF71\uFF9E", "\u30A2\u3099"},
           {"\u2126\u0301", "\u03A9"},
           {"\001a", "a"}})
    EXPECT_EQ(normalizer(text), expected) << json(text);
  json damaged = part;
  damaged["precompiled_charsmap"] = "";
  expect_error(Exit::data, "precompiled_charsmap is empty", [&] { Normalizer{damaged}; });
  damaged["precompiled_charsmap"] = "*";
  expect_error(Exit::data, "precompiled_charsmap: ", [&] { Normalizer{damaged}; });
}

TEST_F(SiglipCharsmap, DamageIsASentence) {
  const std::string map = file().charsmap;
  expect_error(Exit::data, "precompiled_charsmap is damaged: it has no size", [] { Charsmap("ab"); });
  expect_error(Exit::data, "damaged: its trie has another size", [&] { Charsmap{map.substr(0, 2000)}; });
  const auto read = [&](std::string bytes) { Charsmap(bytes).by_graphemes("a ﬁ é 가 \u1100\u1161 ①"); };
  read(map);
  uint32_t trie = 0;
  std::memcpy(&trie, map.data(), sizeof trie);
  expect_error(Exit::data, "its trie points outside the replacements", [&] { read(map.substr(0, 4 + trie)); });
  std::string far = map;
  std::memset(far.data() + 4, 0x7F, 1000);
  expect_error(Exit::data, "its trie points outside itself", [&] { read(far); });
}

// By hand.
TEST_F(SiglipCharsmap, SentencePieceTakesTheLongestRuleAndDropsBlanks) {
  const Charsmap map(file().charsmap);
  EXPECT_EQ(map.longest("e\u0301x")->length, 3u);
  EXPECT_EQ(map.longest("e\u0301x")->replacement, "é");
  EXPECT_EQ(map.longest("\u3000")->replacement, " ");
  EXPECT_FALSE(map.longest("x"));
  EXPECT_FALSE(map.longest(""));
  const Vocabulary vocabulary({"<unk>", "a", "▁", "b", "x", "é"});
  SentencePieceFile small = file();
  small.pieces = {{"<unk>", 0, 2}, {"a", -1, 1}, {"▁", -1, 1}, {"b", -1, 1}, {"x", -1, 3}, {"é", -1, 1}};
  const auto ids = [&](const char* text, const char* lead = "") {
    return encode(SentencePieceUnigram(small, std::make_shared<Vocabulary>(vocabulary), lead), text);
  };
  EXPECT_EQ(ids(" a \u3000 b\n"), (Ids{2, 1, 2, 3}));
  EXPECT_EQ(ids("  "), Ids{});
  EXPECT_EQ(ids("xe\u0301"), (Ids{2, 0, 5}));  // x is a control piece
  small.add_dummy_prefix = false;
  EXPECT_EQ(ids(" a"), Ids{1});
  EXPECT_EQ(ids(" a", "a"), (Ids{2, 1}));
  EXPECT_EQ(ids("x", "x"), Ids{});  // xx is one unknown token, as x alone
  small.remove_extra_whitespaces = false;
  EXPECT_EQ(ids(" a  b "), (Ids{2, 1, 2, 2, 3, 2}));
  small.pieces[4].type = SentencePieceFile::user_defined;
  expect_error(Exit::data, "the piece \"x\" is user-defined; this program", [&] { ids("a"); });
  small.pieces[4].type = SentencePieceFile::normal;
  small.model_type = 2;
  expect_error(Exit::data, "the model_type is 2; this program", [&] { ids("a"); });
  small.pieces.erase(small.pieces.begin());
  expect_error(Exit::data, "has no piece for unknown characters", [&] { ids("a"); });
}

TEST(SentencePieceFile, DamageIsASentence) {
  const TemporaryFolder folder("spiece");
  const auto refused = [&](const std::string& bytes, const char* sentence) {
    write_text(folder / "spiece.model", bytes);
    expect_error(Exit::data, sentence, [&] { SentencePieceFile::read(folder / "spiece.model"); });
  };
  refused("", "has no pieces; is it a SentencePiece model?");
  refused("{\"a\": 1}", "is not a SentencePiece model, or is damaged");
  const std::string whole = read_text(golden("siglip/model/spiece.model"));
  refused(whole.substr(0, 5000), "is not a SentencePiece model, or is damaged");
  refused(whole.substr(0, whole.size() - 1), "is not a SentencePiece model, or is damaged");
  refused(std::string(20, '\xFF'), "is not a SentencePiece model, or is damaged");
}

}  // namespace
}  // namespace vlm2vec
