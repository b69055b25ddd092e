#include "mmeb/data/row_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "io/error.h"
#include "io/json_lines.h"

namespace vlm2vec {

namespace {

namespace fs = std::filesystem;

const std::regex& shard_name() {
  static const std::regex pattern("(.+)-([0-9]{5})-of-([0-9]{5})(-[0-9a-f]+)?\\.parquet");
  return pattern;
}

// Set/original-00000-of-00002.parquet, … for Set/original.jsonl.
std::vector<fs::path> shards_of(const fs::path& file) {
  std::vector<fs::path> shards;
  std::error_code no_folder;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder, no_folder)) {
    const std::string name = entry.path().filename().string();
    std::smatch part;
    if (name.starts_with(file.stem().string() + "-") && std::regex_match(name, part, shard_name()) &&
        part[1] == file.stem().string())
      shards.push_back(entry.path());
  }
  std::sort(shards.begin(), shards.end());
  std::string total, hash;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards[i].filename().string();
    std::smatch part;
    std::regex_match(name, part, shard_name());
    if (i == 0) total = part[3], hash = part[4];
    if (part[3] != total || part[4] != hash || std::stoul(part[2]) != i || std::stoul(total) != shards.size())
      fail(Exit::data, shards[i].string(), ": does not belong to one complete set of shards (00000-of-N to N-1-of-N); ",
           "keep one such set in the folder");
  }
  return shards;
}

}  // namespace

std::vector<fs::path> row_files(const fs::path& file) {
  const fs::path parquet = fs::path(file).replace_extension(".parquet");
  if (fs::exists(file)) return {file};
  if (fs::exists(parquet)) return {parquet};
  return shards_of(file);
}

fs::path split_file(const fs::path& folder, const std::string& split) {
  const fs::path file = folder / (split + ".jsonl");
  std::vector<fs::path> found = shards_of(file);
  for (const char* other : {".parquet", ".jsonl"})
    if (const fs::path whole = folder / (split + other); fs::exists(whole)) found.insert(found.begin(), whole);
  if (found.size() > 1 && found[0].stem() == split)
    fail(Exit::data, found[0].string(), ": lies beside ", found[1].filename().string(), "; keep only one of them");
  return file;
}

std::string split_of(const fs::path& file) {
  if (file.extension() != ".jsonl" && file.extension() != ".parquet") return "";
  const std::string name = file.filename().string();
  std::smatch part;
  return std::regex_match(name, part, shard_name()) ? part[1].str() : file.stem().string();
}

std::vector<std::string> column_names(const fs::path& file) {
  const std::vector<fs::path> files = row_files(file);
  if (!files.empty() && files[0].extension() == ".parquet") return ParquetFile::open(files[0]).columns();
  std::vector<std::string> names;
  const auto keep_names = [&](const nlohmann::ordered_json& row) {
    for (const auto& [name, value] : row.items()) names.push_back(name);
  };
  read_rows(file, {}, keep_names, 1);
  return names;
}

void read_rows(const fs::path& file, const std::vector<std::string>& columns,
               const std::function<void(const nlohmann::ordered_json&)>& row, int64_t limit, const RowFault& fault,
               ParquetFile::Binary binary) {
  const std::vector<fs::path> files = row_files(file);
  if (files.empty()) fail(Exit::data, file.string(), ": no such file, and no Parquet file in its place");
  if (files[0].extension() != ".parquet") return read_json_lines(file, row, limit, nullptr, fault);
  int64_t left = limit > 0 ? limit : INT64_MAX;
  for (const fs::path& part : files) {
    const ParquetFile table = ParquetFile::open(part);
    int64_t number = 0;
    const auto judged = [&](const nlohmann::ordered_json& object) {
      ++number;
      try {
        row(object);
      } catch (const Error& e) {
        if (!fault || e.code != Exit::data) throw;
        fault({e.code, sentence(part.string(), ":", number, ": ", e.what())});
      }
    };
    table.read(judged, {columns, 0, left, binary});
    left -= std::min(left, table.rows());
  }
}

}  // namespace vlm2vec
