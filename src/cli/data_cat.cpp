#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/data/row_files.h"
#include "mmeb/parquet/parquet.h"
#include "tensor/nearest.h"

namespace vlm2vec {
namespace {

void check_columns(const std::string& file, const std::vector<std::string>& columns) {
  if (columns.empty()) return;
  for (const std::filesystem::path& part : row_files(file)) {
    if (part.extension() != ".parquet") fail(Exit::usage, file, ": --columns is for Parquet files");
    const std::vector<std::string> known = ParquetFile::open(part).columns();
    for (const std::string& column : columns)
      if (std::find(known.begin(), known.end(), column) == known.end())
        fail(Exit::usage, file, ": has no column ", column, nearest_hint(column, known));
  }
}

}  // namespace

Exit run_data_cat(const Command& command, const Arguments& arguments) {
  std::vector<std::string> files, columns;
  int64_t limit = 0;
  CommandLine line(command.name, command.purpose, "data cat MMEB-eval/OK-VQA/test-00000-of-00001.parquet --limit 3");
  line.words("FILE", files, "Parquet files or files of JSON lines");
  line("columns", columns, "of Parquet files: only these columns; none: all");
  line("limit", limit, "the first N rows of each file (0: all)");
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 0) fail(Exit::usage, "data cat: --limit: got ", limit, ", expected 0 or more");
  for (const std::string& file : files) {
    check_columns(file, columns);
    read_rows(
        file, columns, [](const nlohmann::ordered_json& row) { std::cout << row << '\n'; }, limit);
  }
  return Exit::ok;
}

}  // namespace vlm2vec
