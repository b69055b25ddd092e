// The documents of the repository, for the tests that hold them to the code.
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

namespace vlm2vec::markdown {
namespace fs = std::filesystem;

inline std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// Every *.md outside of builds, runs and hidden folders.
inline std::vector<fs::path> files() {
  std::vector<fs::path> found;
  for (auto entry = fs::recursive_directory_iterator(SOURCE_DIR); entry != fs::end(entry); ++entry) {
    const std::string name = entry->path().filename();
    if (entry->is_directory() && (name.starts_with("build") || name.starts_with(".") || name == "runs"))
      entry.disable_recursion_pending();
    else if (name.ends_with(".md")) found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// A block between ```language and ```.
struct Block {
  std::string language, where;  // where: file:line
  std::vector<std::string> lines;
};
inline std::vector<Block> blocks_of(const fs::path& file) {
  std::vector<Block> blocks;
  const std::vector<std::string> lines = lines_of(file);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].starts_with("```")) continue;
    Block block{lines[i].substr(3), file.filename().string() + ":" + std::to_string(i + 1), {}};
    while (++i < lines.size() && lines[i] != "```") block.lines.push_back(lines[i]);
    blocks.push_back(std::move(block));
  }
  return blocks;
}

// A line that a reader sees as text: no code, between ``` or indented, and no row of a table.
struct Line {
  int number;  // from 1
  std::string text;
};
inline std::vector<Line> prose_of(const fs::path& file) {
  std::vector<Line> prose;
  bool in_block = false;
  int number = 0;
  for (const std::string& line : lines_of(file)) {
    ++number;
    if (line.starts_with("```")) in_block = !in_block;
    else if (!in_block && !line.starts_with("    ") && !line.starts_with("|")) prose.push_back({number, line});
  }
  return prose;
}

// Does a line fit the pattern, in which … stands for anything? Blanks at the ends of both do not count.
inline bool line_matches(std::string text, std::string pattern) {
  const std::string anything = "…";
  for (std::string* s : {&text, &pattern}) s->erase(s->find_last_not_of(' ') + 1);
  size_t at = 0;
  for (bool anchored = true;; anchored = false) {
    const size_t end = pattern.find(anything);
    const std::string piece = pattern.substr(0, end);
    if (end == std::string::npos)  // the last piece ends the line
      return anchored ? text == piece : text.size() >= at + piece.size() && text.ends_with(piece);
    const size_t found = text.find(piece, at);
    if (found == std::string::npos || (anchored && found != 0)) return false;
    at = found + piece.size();
    pattern.erase(0, end + anything.size());
  }
}

// All matches of `pattern`'s first group.
inline std::vector<std::string> all(const std::string& text, const std::regex& pattern) {
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
    found.push_back((*match)[1]);
  return found;
}

// What stands between `backticks`.
inline std::vector<std::string> code_spans(const std::string& line) {
  static const std::regex pattern("`([^`]+)`");
  return all(line, pattern);
}

}  // namespace vlm2vec::markdown
