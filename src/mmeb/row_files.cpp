#include "mmeb/row_files.h"

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
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(file.parent_path(), no_folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(file.stem().string() + "-")) continue;
    std::smatch part;
    if (!std::regex_match(name, part, pattern)) continue;
    shards.push_back(entry.path());
    count = std::max<size_t>(count, std::stoul(part[3]));
  }
  std::sort(shards.begin(), shards.end());
  if (shards.size() != count)
    fail(Exit::data, shards[0].string(), ": is one of ", shards.size(), " shards, their names say ", count,
         "; keep one complete set of them in the folder");
  return shards;
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
