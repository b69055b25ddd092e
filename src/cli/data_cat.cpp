#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/nearest.h"
#include "io/parquet/parquet.h"
#include "io/text.h"
#include "mmeb/data/row_files.h"

namespace vlm2vec {
namespace {

void check_options(const std::string& file, const std::vector<std::string>& columns, ParquetFile::Binary binary) {
  const bool by_size = binary == ParquetFile::Binary::size;
  if (columns.empty() && by_size) return;
  for (const std::filesystem::path& part : row_files(file)) {
    if (part.extension() != ".parquet")
      fail(Exit::usage, file, by_size ? ": --columns" : ": --binary", " is for Parquet files");
    const std::vector<std::string> known = ParquetFile::open(part).columns();
    for (const std::string& column : columns)
      if (std::find(known.begin(), known.end(), column) == known.end())
        fail(Exit::usage, file, ": has no column ", column, nearest_hint(column, known));
  }
}

ParquetFile::Binary parse_binary(const std::string& text) {
  if (text == "size") return ParquetFile::Binary::size;
  if (text == "base64") return ParquetFile::Binary::base64;
  fail(Exit::usage, "data cat: --binary: got \"", text, "\", expected size or base64");
}

// Counts the numbers that JSON cannot write.
int64_t not_finite(const nlohmann::ordered_json& value) {
  if (value.is_number_float()) return !std::isfinite(value.get<double>());
  int64_t count = 0;
  if (value.is_structured())
    for (const auto& part : value) count += not_finite(part);
  return count;
}

void print_rows(const std::string& file, const std::vector<std::string>& columns, int64_t limit,
                ParquetFile::Binary binary) {
  int64_t nulls = 0;
  const auto print = [&](const nlohmann::ordered_json& row) { nulls += not_finite(row), std::cout << row << '\n'; };
  read_rows(file, columns, print, limit, {}, binary);
  if (nulls > 0)
    std::cerr << file << ": " << counted(uint64_t(nulls), "number") << (nulls == 1 ? " is" : " are")
              << " NaN or infinite; JSON has no such numbers, so they are printed as null\n";
}

}  // namespace

Exit run_data_cat(const Command& command, const Arguments& arguments) {
  std::vector<std::string> files, columns;
  std::string binary = "size";
  int64_t limit = 0;
  CommandLine line(command.name, command.purpose, "data cat MMEB-eval/OK-VQA/test-00000-of-00001.parquet --limit 3");
  line.words("FILE", files, "Parquet files or files of JSON lines");
  line("columns", columns, "<NAME> print only these columns of Parquet files (default: all)");
  line("binary", binary,
       "<size|base64> form of Parquet's binary values: size ({\"bytes\": N}, with a picture's path) or base64");
  line("limit", limit, "the first N rows of each file (0: all)");
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 0) fail(Exit::usage, "data cat: --limit: got ", limit, ", expected 0 or more");
  const ParquetFile::Binary form = parse_binary(binary);
  for (const std::string& file : files) {
    check_options(file, columns, form);
    print_rows(file, columns, limit, form);
  }
  return Exit::ok;
}

}  // namespace vlm2vec
