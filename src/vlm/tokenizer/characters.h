// The characters of UTF-8 text. Text that is not UTF-8 throws Exit::data.
#pragma once
#include <utf8proc.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "io/text.h"

namespace vlm2vec {

struct CodePoint {
  int32_t code;
  size_t length;  // bytes
};

inline CodePoint character_at(std::string_view text, size_t i) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  if (bytes[i] < 0x80) return {bytes[i], 1};
  int32_t code = 0;
  const utf8proc_ssize_t length = utf8proc_iterate(bytes + i, utf8proc_ssize_t(text.size() - i), &code);
  if (length <= 0) not_utf8(i);
  return {code, size_t(length)};
}

inline void append_character(std::string& text, int32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(code, bytes);
  text.append(reinterpret_cast<const char*>(bytes), size_t(size));
}

inline bool is_ascii_punctuation(int32_t code) {  // all printable characters but letters, digits and the blank
  return code > ' ' && code < 0x7F && !(code >= '0' && code <= '9') && !((code | 32) >= 'a' && (code | 32) <= 'z');
}

// Unicode's property White_Space.
inline bool is_white_space(int32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0D);
  const auto category = utf8proc_category(code);
  return code == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

// How many bytes of white space the text begins with.
inline size_t blanks_at_start(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto [code, length] = character_at(text, i);
    if (!is_white_space(code)) return i;
    i += length;
  }
  return text.size();
}

// Where the text ends without the white space behind it.
inline size_t end_without_blanks(std::string_view text) {
  for (size_t end = text.size(); end > 0;) {
    size_t last = end - 1;
    while (last > 0 && (text[last] & 0xC0) == 0x80) --last;
    if (!is_white_space(character_at(text, last).code)) return end;
    end = last;
  }
  return 0;
}

}  // namespace vlm2vec
