// Qwen2's split pattern as a hand-written matcher. Its alternatives, tried in this order at every position:
//   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)      5  \s*[\r\n]+      back to the last line break of the blanks
//   2  [^\r\n\p{L}\p{N}]?\p{L}+          6  \s+(?!\S)       all blanks but the last, or all at the end of the text
//   3  \p{N}                             7  \s+
//   4   ?[^\s\p{L}\p{N}]+[\r\n]*
// Every character is a letter, a number, a blank or something else, so one of them always matches.
#include "vlm/tokenizer/pretokenizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "io/error.h"

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
  if (code == ' ' || (code >= 0x09 && code <= 0x0D) || code == 0x85 || code == 0xA0) return Kind::blank;
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
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return Kind::blank;  // with the controls above: the property White_Space
    default:
      return Kind::other;
  }
}

[[noreturn]] void not_utf8(size_t at) { fail(Exit::data, "text is not UTF-8 at byte ", at, "; re-encode it"); }

// The characters of `text` and one past the end, of no kind that any alternative accepts.
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

// The length of an English contraction's ending at `c`, 0 if there is none. Case folding makes U+017F an s.
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

// The end of the word that begins at `c`; `end` is the character past the text.
const Character* match(const Character* c, const Character* end) {
  const auto letter = [](Character x) { return x.is(Kind::letter); };
  const auto line_break = [](Character x) { return x.is(Kind::line_break); };
  const auto other = [](Character x) { return x.is(Kind::other); };
  if (const int length = contraction(c)) return c + length;                                           // 1
  if (letter(*c) || ((c->is(Kind::blank) || other(*c)) && letter(c[1]))) return skip(c + 1, letter);  // 2
  if (c->is(Kind::number)) return c + 1;                                                              // 3
  if (other(*c) || (c->code == ' ' && other(c[1]))) return skip(skip(c + 1, other), line_break);      // 4
  const Character* blanks = skip(c, [](Character x) { return x.is_space(); });
  for (const Character* last = blanks; last != c; --last)
    if (line_break(last[-1])) return last;                        // 5
  return blanks == end || blanks - c == 1 ? blanks : blanks - 1;  // 6, 7
}

// Characters that Unicode has since version 10 and that have a combining class or are part of a composition; what else
// lies in a range came as late.
bool is_too_new(int32_t code) {
  struct Range {
    int32_t first, last;
  };
  static constexpr Range ranges[] = {{0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
                                     {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
                                     {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
                                     {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F85}, {0x11070, 0x11070},
                                     {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11943},
                                     {0x119E0, 0x119E0}, {0x11A34, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D45},
                                     {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
                                     {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};
  const auto next = std::ranges::upper_bound(ranges, code, {}, &Range::first);
  return next != std::begin(ranges) && code <= std::prev(next)->last;
}

void append_composed(std::string& normal, std::string_view text) {
  if (text.empty()) return;
  utf8proc_uint8_t* composed = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                                 &composed, utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  if (size < 0) fail(Exit::data, "text cannot be normalised: ", utf8proc_errmsg(size));
  normal.append(reinterpret_cast<const char*>(composed), size_t(size));
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
  const std::vector<Character> characters = characters_of(text);
  const Character *c = characters.data(), *end = c + characters.size() - 1;
  std::vector<std::string_view> words;
  while (c != end) {
    const Character* next = match(c, end);
    words.push_back(text.substr(c->begin, next->begin - c->begin));
    c = next;
  }
  return words;
}

std::string normalize_nfc(std::string_view text) {
  const auto combining = [](char byte) { return uint8_t(byte) >= 0xCC; };  // nothing below U+0300 is ever changed
  if (std::none_of(text.begin(), text.end(), combining)) return std::string(text);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::string normal;
  size_t begin = 0;  // of what is still to be normalised
  for (size_t i = 0; i < text.size();) {
    int32_t code = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(bytes + i, utf8proc_ssize_t(text.size() - i), &code);
    if (length <= 0) not_utf8(i);
    if (is_too_new(code)) {
      append_composed(normal, text.substr(begin, i - begin));
      normal += text.substr(i, size_t(length));
      begin = i + size_t(length);
    }
    i += size_t(length);
  }
  append_composed(normal, text.substr(begin));
  return normal;
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
