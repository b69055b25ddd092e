#include "vlm/tokenizer/web_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <sstream>

#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/normalizer.h"

namespace vlm2vec {

extern const char* const kHtmlEntities;  // of HTML 5: "name=HEX[+HEX]", or "name*HEX" if the semicolon may be missing

namespace {

struct Entity {
  std::string text;
  bool open;  // may stand without its semicolon
};

const std::map<std::string, Entity, std::less<>>& entities() {
  static const auto all = [] {
    std::map<std::string, Entity, std::less<>> table;
    std::istringstream words(kHtmlEntities);
    for (std::string word; words >> word;) {
      const size_t at = word.find_first_of("=*");
      Entity& entity = table[word.substr(0, at)];
      entity.open = word[at] == '*';
      for (const char* code = word.c_str() + at; *code;) {
        char* end;
        append_character(entity.text, int32_t(std::strtol(code + 1, &end, 16)));
        code = end;
      }
    }
    return table;
  }();
  return all;
}

// Windows-1252's characters of the bytes 0x80 to 0x9F, which many pages mean by such codes; 0: none.
constexpr std::array<int32_t, 32> kWindows = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                              0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                              0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                              0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

int32_t of_windows(int32_t code) {
  const bool in_table = code >= 0x80 && code < 0xA0;
  return in_table && kWindows[size_t(code - 0x80)] != 0 ? kWindows[size_t(code - 0x80)] : code;
}

// Appends the character of &#code;, as browsers read it.
void append_reference(std::string& text, int64_t code) {
  constexpr int32_t replacement = 0xFFFD;
  if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return append_character(text, replacement);
  if (code == '\r' || (code >= 0x80 && code < 0xA0)) return append_character(text, of_windows(int32_t(code)));
  const bool control = code < 0x20 && code != '\t' && code != '\n' && code != '\f';
  const bool invalid = control || code == 0x7F || (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
  if (!invalid) append_character(text, int32_t(code));
}

// Reads #233 or #xE9, with its semicolon if it has one. Returns its length; 0: it is none.
size_t read_number(std::string_view text, std::string& out) {
  const bool hex = text.size() > 1 && (text[1] == 'x' || text[1] == 'X');
  const char* const digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
  const size_t begin = hex ? 2 : 1, end = std::min(text.find_first_not_of(digits, begin), text.size());
  if (begin >= end) return 0;
  int64_t code = 0;
  for (const char digit : text.substr(begin, end - begin))
    code = std::min<int64_t>(code * (hex ? 16 : 10) + (digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10), 1 << 24);
  append_reference(out, code);
  return end + (end < text.size() && text[end] == ';');
}

// Reads the longest name. Returns its length, with the semicolon; 0: it is none.
size_t read_name(std::string_view text, std::string& out) {
  const size_t end = std::min({text.find_first_of("\t\n\f <&#;"), text.size(), size_t(32)});
  if (end < text.size() && text[end] == ';')
    if (const auto found = entities().find(text.substr(0, end)); found != entities().end())
      return out += found->second.text, end + 1;
  for (size_t length = end; length > 1; --length)
    if (const auto found = entities().find(text.substr(0, length)); found != entities().end() && found->second.open)
      return out += found->second.text, length;
  return 0;
}

struct Fixed {
  int32_t code;
  const char* text;
};
constexpr Fixed kLigatures[] = {{0x132, "IJ"},  {0x133, "ij"},  {0x149, "ʼn"},  {0x1C4, "DŽ"},   {0x1C5, "Dž"},
                                {0x1C6, "dž"},  {0x1C7, "LJ"},  {0x1C8, "Lj"},  {0x1C9, "lj"},   {0x1CA, "NJ"},
                                {0x1CB, "Nj"},  {0x1CC, "nj"},  {0x1F1, "DZ"},  {0x1F2, "Dz"},   {0x1F3, "dz"},
                                {0xFB00, "ff"}, {0xFB01, "fi"}, {0xFB02, "fl"}, {0xFB03, "ffi"}, {0xFB04, "ffl"},
                                {0xFB05, "ſt"}, {0xFB06, "st"}};

bool is_control(int32_t code) {
  return code < 0x09 || code == 0x0B || (code >= 0x0E && code < 0x20) || code == 0x7F ||
         (code >= 0x206A && code < 0x2070) || code == 0xFEFF || (code >= 0xFFF9 && code < 0xFFFD);
}

void append_fixed(std::string& out, int32_t code) {
  code = of_windows(code);
  const auto* ligature = std::ranges::find(kLigatures, code, &Fixed::code);
  if (ligature != std::end(kLigatures)) {
    out += ligature->text;
  } else if (code >= 0xFF01 && code < 0xFFF0) {  // full and half width
    int32_t usual[4];
    const auto length = utf8proc_decompose_char(
        code, usual, 4, static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), nullptr);
    for (utf8proc_ssize_t i = 0; i < length; ++i) append_character(out, usual[i]);
  } else if (code == 0x3000) {
    out += ' ';
  } else if (code == 0x2BC || (code >= 0x2018 && code <= 0x201B)) {
    out += '\'';
  } else if (code >= 0x201C && code <= 0x201F) {
    out += '"';
  } else if (code == 0x2028 || code == 0x2029 || code == '\r') {
    out += '\n';
  } else if (!is_control(code)) {
    append_character(out, code);
  }
}

bool is_cased(int32_t code) {
  const auto category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}

bool is_ignored_by_case(int32_t code) {
  const auto category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_LM || category == UTF8PROC_CATEGORY_SK || code == '\'' || code == '.' ||
         code == ':' || code == 0xB7 || code == 0x2019;
}

// Σ at the end of a word becomes ς: the tokenizer's lower case looks at no neighbours.
std::string with_final_sigma(std::string_view text) {
  constexpr int32_t sigma = 0x3A3, final_sigma = 0x3C2;
  std::string out;
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const auto [code, length] = character_at(text, i);
    i += length;
    size_t next = i;
    while (next < text.size() && is_ignored_by_case(character_at(text, next).code))
      next += character_at(text, next).length;
    const bool before_letter = next < text.size() && is_cased(character_at(text, next).code);
    append_character(out, code == sigma && after_letter && !before_letter ? final_sigma : code);
    if (!is_ignored_by_case(code)) after_letter = is_cased(code);
  }
  return out;
}

}  // namespace

std::string without_html_entities(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i + 1);
    const size_t length = text[i] != '&' || rest.empty() ? 0
                          : rest[0] == '#'               ? read_number(rest, out)
                                                         : read_name(rest, out);
    if (length == 0) out += text[i];
    i += 1 + length;
  }
  return out;
}

std::string clean_web_text(std::string_view text) {
  std::string fixed;
  for (size_t i = 0; i < text.size();) {
    const auto [code, length] = character_at(text, i);
    const bool line_end = code == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (!line_end) append_fixed(fixed, code);
    i += length;
  }
  return with_final_sigma(without_html_entities(without_html_entities(normalize_nfc(fixed))));
}

}  // namespace vlm2vec
