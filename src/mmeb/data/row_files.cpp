#include "mmeb/data/row_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "mmeb/parquet/parquet.h"
#include "tensor/error.h"
#include "tensor/io/json_lines.h"

namespace vlm2vec {

namespace fs = std::filesystem;

std::vector<fs::path> row_files(const fs::path& file) {
  const fs::path parquet = fs::path(file).replace_extension(".parquet");
  if (fs::exists(file)) return {file};
  if (fs::exists(parquet)) return {parquet};
  static const std::regex pattern("(.+)-([0-9]{5})-of-([0-9]{5})(-[0-9a-f]+)?\\.parquet");
  std::vector<fs::path> shards;
  std::error_code no_folder;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder, no_folder)) {
    const std::string name = entry.path().filename().string();
    std::smatch part;
    if (name.starts_with(file.stem().string() + "-") && std::regex_match(name, part, pattern))
      shards.push_back(entry.path());
  }
  std::sort(shards.begin(), shards.end());
  std::string total, hash;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards[i].filename().string();
    std::smatch part;
    std::regex_match(name, part, pattern);
    if (i == 0) total = part[3], hash = part[4];
    if (part[3] != total || part[4] != hash || std::stoul(part[2]) != i || std::stoul(total) != shards.size())
      fail(Exit::data, shards[i].string(), ": is no part of one complete set of shards (00000-of-N to N-1-of-N); keep ",
           "one such set in the folder");
  }
  return shards;
}

nlohmann::ordered_json without_null_pictures(nlohmann::ordered_json row) {
  for (auto& [name, value] : row.items()) {
    if (!name.ends_with("_path")) continue;
    if (value.is_null()) value = "";
    if (value.is_array())
      for (auto& path : value)
        if (path.is_null()) path = "";
  }
  return row;
}

void read_rows(const fs::path& file, const std::vector<std::string>& columns,
               const std::function<void(const nlohmann::ordered_json&)>& row, int64_t limit) {
  const std::vector<fs::path> files = row_files(file);
  if (files.empty()) fail(Exit::data, file.string(), ": no such file, and no Parquet file in its place");
  if (files[0].extension() != ".parquet") return read_json_lines(file, row, limit);
  int64_t left = limit > 0 ? limit : INT64_MAX;
  for (const fs::path& part : files) {
    const ParquetFile table = ParquetFile::open(part);
    table.read(row, {columns, 0, left});
    left -= std::min(left, table.rows());
  }
}

}  // namespace vlm2vec
