// The values of a file of JSON lines.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "io/files.h"

namespace vlm2vec {

inline std::vector<nlohmann::json> lines_of_json(const std::filesystem::path& file) {
  std::istringstream text(read_text(file));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

}  // namespace vlm2vec
