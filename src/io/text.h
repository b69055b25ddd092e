// Texts for messages: on one line, short, their nouns counted.
#pragma once
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

// Returns `text` on one line, cut after about `most` bytes, never within a character; control characters become blanks.
std::string one_line(std::string_view text, size_t most = 80);

std::string counted(uint64_t number, const std::string& noun);  // "1 item", "2 items"
std::string listed(const std::vector<std::string>& names);      // "a, b, c, d and 3 more"

// "a, b, c"; with `last`: "a, b or c".
template <class Items>
std::string joined(const Items& items, std::string_view between = ", ", std::string_view last = "") {
  std::string text;
  size_t left = std::size(items);
  for (const auto& item : items) {
    text += item;
    if (--left > 0) text += left == 1 && !last.empty() ? last : between;
  }
  return text;
}

[[gnu::format(printf, 1, 2)]] std::string formatted(const char* pattern, ...);  // as printf

// Takes these characters, if not given white space, from both ends.
std::string strip(const std::string& text, const char* characters = " \t\n\r\f\v");
std::vector<std::string> words_of(const std::string& text);  // parts between white space

bool is_utf8(std::string_view text);
[[noreturn]] void not_utf8(size_t at);  // throws Exit::data; `at`: the first bad byte

}  // namespace vlm2vec
