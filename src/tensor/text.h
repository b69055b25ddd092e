// Texts of users and files in messages: in one line, and short.
#pragma once
#include <string>

namespace vlm2vec {

// `text` in one line, after `most` bytes or a few more cut between characters.
inline std::string one_line(const std::string& text, size_t most = 80) {
  std::string line;
  for (const char c : text) {
    if (line.size() >= most && (c & 0xC0) != 0x80) return line + "...";  // not within a character
    line += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
  }
  return line;
}

}  // namespace vlm2vec
