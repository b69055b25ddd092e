#include "cli/json_lines.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace vlm2vec {

void read_json_lines(const std::filesystem::path& file, const std::function<void(const nlohmann::ordered_json&)>& row) {
  std::istringstream text(read_text(file));
  int64_t number = 0, rows = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      row(nlohmann::ordered_json::parse(line));
    } catch (const nlohmann::json::exception& e) {
      fail(Exit::data, file.string(), ":", number, ": not the row that was expected (", e.what(), ")");
    }
    ++rows;
  }
  if (rows == 0) fail(Exit::data, file.string(), ": has no rows");
}

}  // namespace vlm2vec
