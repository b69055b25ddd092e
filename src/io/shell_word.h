// Words and command lines as a shell takes them, for the user to copy.
#pragma once
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

// Returns the word, in quotes if it needs them.
inline std::string shell_word(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=,:+@%").find(char(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// The program as the user typed it, e.g. "./vlm2vec"; main sets it.
inline std::string program_name = "vlm2vec";

// "./vlm2vec train --output_dir 'my run'"
inline std::string command_line(const std::string& command, const std::vector<std::string>& words = {}) {
  std::string line = shell_word(program_name) + " " + command;
  for (const std::string& word : words) line += " " + shell_word(word);
  return line;
}

}  // namespace vlm2vec
