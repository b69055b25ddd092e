// The split pattern of Qwen2 and Llama-3 as a hand-written matcher. Its alternatives, tried in this order everywhere:
//   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)      5  \s*[\r\n]+      back to the last line break of the blanks
//   2  [^\r\n\p{L}\p{N}]?\p{L}+          6  \s+(?!\S)       all blanks but the last, or all at the end of the text
//   3  \p{N}, Llama-3: \p{N}{1,3}        7  \s+
//   4   ?[^\s\p{L}\p{N}]+[\r\n]*
// Every character is a letter, a number, a blank or something else, so one of them always matches.
#include "vlm/tokenizer/pretokenizer.h"

#include "io/error.h"
#include "vlm/tokenizer/characters.h"

namespace vlm2vec {
namespace {

enum class Kind : uint8_t { letter, number, line_break, blank, other };

struct Character {
  uint32_t begin;  // byte offset
  uint32_t code : 24;
  uint32_t kind : 8;
  bool is(Kind k) const { return kind == uint32_t(k); }
  bool is_space() const { return is(Kind::blank) || is(Kind::line_break); }
};

Kind kind_of(int32_t code) {
  if (code == '\n' || code == '\r') return Kind::line_break;
  if (is_white_space(code)) return Kind::blank;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return Kind::letter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return Kind::number;
    default:
      return Kind::other;
  }
}

// Returns the characters of `text` and one past the end, of a kind that no alternative accepts.
std::vector<Character> characters_of(std::string_view text) {
  static const std::array<Kind, 128> ascii = [] {
    std::array<Kind, 128> kinds;
    for (int code = 0; code < 128; ++code) kinds[code] = kind_of(code);
    return kinds;
  }();
  CHECK(text.size() < INT32_MAX, "split_words: ", text.size(), " bytes in one text; expected less than 2 GiB");
  std::vector<Character> characters;
  characters.reserve(text.size() + 1);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t i = 0; i < text.size();) {
    int32_t code = bytes[i];
    utf8proc_ssize_t length = 1;
    if (code >= 128 && (length = utf8proc_iterate(bytes + i, text.size() - i, &code)) <= 0) not_utf8(i);
    characters.push_back({uint32_t(i), uint32_t(code), uint32_t(code < 128 ? ascii[code] : kind_of(code))});
    i += length;
  }
  constexpr uint32_t no_kind = 255;
  characters.push_back({uint32_t(text.size()), 0, no_kind});
  return characters;
}

// Returns the length of an English contraction's ending at `c`, or 0. Case folding makes U+017F an s.
int contraction(const Character* c) {
  if (c[0].code != '\'') return 0;
  const auto lower = [](Character x) { return x.code >= 'A' && x.code <= 'Z' ? x.code + 32 : x.code; };
  const uint32_t first = lower(c[1]);
  if (first == 's' || first == 0x17F || first == 't' || first == 'm' || first == 'd') return 2;
  if (first == 0) return 0;  // perhaps the end of the text
  const uint32_t second = lower(c[2]);
  return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

template <class Predicate>
const Character* skip(const Character* c, Predicate predicate) {
  while (predicate(*c)) ++c;
  return c;
}

// Returns the end of the word that begins at `c`; `end` is the character past the text.
const Character* match(const Character* c, const Character* end, int most_digits) {
  const auto letter = [](Character x) { return x.is(Kind::letter); };
  const auto line_break = [](Character x) { return x.is(Kind::line_break); };
  const auto other = [](Character x) { return x.is(Kind::other); };
  if (const int length = contraction(c)) return c + length;                                           // 1
  if (letter(*c) || ((c->is(Kind::blank) || other(*c)) && letter(c[1]))) return skip(c + 1, letter);  // 2
  if (c->is(Kind::number)) {                                                                          // 3
    const auto more = [last = c + most_digits](const Character& x) { return &x < last && x.is(Kind::number); };
    return skip(c, more);
  }
  if (other(*c) || (c->code == ' ' && other(c[1]))) return skip(skip(c + 1, other), line_break);      // 4
  const Character* blanks = skip(c, [](Character x) { return x.is_space(); });
  for (const Character* last = blanks; last != c; --last)
    if (line_break(last[-1])) return last;                        // 5
  return blanks == end || blanks - c == 1 ? blanks : blanks - 1;  // 6, 7
}

}  // namespace

void split_words_into(std::string_view text, std::vector<std::string_view>& words, int most_digits) {
  const std::vector<Character> characters = characters_of(text);
  const Character *c = characters.data(), *end = c + characters.size() - 1;
  while (c != end) {
    const Character* next = match(c, end, most_digits);
    words.push_back(text.substr(c->begin, next->begin - c->begin));
    c = next;
  }
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  split_words_into(text, words);
  return words;
}

const std::array<std::string, 256>& byte_alphabet() {
  static const std::array<std::string, 256> alphabet = [] {
    std::array<std::string, 256> letters;
    int code = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const int letter = printable ? byte : code++;
      if (letter < 0x80) letters[byte] = {char(letter)};
      else letters[byte] = {char(0xC0 | letter >> 6), char(0x80 | (letter & 0x3F))};
    }
    return letters;
  }();
  return alphabet;
}

}  // namespace vlm2vec
