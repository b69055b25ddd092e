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
