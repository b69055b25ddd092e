// A word as a shell takes it: in quotes unless it needs none.
#pragma once
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

namespace vlm2vec {

inline std::string shell_word(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=,:+@%").find(char(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace vlm2vec
