#include "io/text.h"

#include <utf8proc.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <span>
#include <sstream>

#include "io/error.h"

namespace vlm2vec {

std::string one_line(std::string_view text, size_t most) {
  std::string line;
  for (const unsigned char c : text) {
    if (line.size() >= most && (c & 0xC0) != 0x80) return line + "...";  // not within a character
    line += c < 32 || c == 127 ? ' ' : char(c);
  }
  return line;
}

std::string counted(uint64_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

std::string listed(const std::vector<std::string>& names) {
  constexpr size_t most = 4;
  if (names.size() <= most) return joined(names);
  return joined(std::span(names).first(most)) + " and " + std::to_string(names.size() - most) + " more";
}

std::string formatted(const char* pattern, ...) {
  std::va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  std::string text(size_t(std::vsnprintf(nullptr, 0, pattern, arguments)), '\0');
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  va_end(arguments);
  return text;
}

std::string strip(const std::string& text, const char* characters) {
  const size_t begin = text.find_first_not_of(characters);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(characters) + 1 - begin);
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto* end = at + text.size();
  while (at < end) {
    uint64_t eight = 0;
    if (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080u) == 0)) {
      at += 8;
      continue;
    }
    utf8proc_int32_t code;
    const utf8proc_ssize_t length = *at < 128 ? 1 : utf8proc_iterate(at, end - at, &code);
    if (length <= 0) return false;
    at += length;
  }
  return true;
}

void not_utf8(size_t at) { fail(Exit::data, "text is not UTF-8 at byte ", at, "; re-encode it"); }

}  // namespace vlm2vec
