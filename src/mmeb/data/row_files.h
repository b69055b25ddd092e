// Reads rows from JSON lines, a Parquet file, or Parquet shards named as on the hub.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/json_lines.h"
#include "io/parquet/parquet.h"

namespace vlm2vec {

// Returns the files with the rows of `file`: the file itself or, for a missing Set/original.jsonl, Set/original.parquet
// or the shards Set/original-00000-of-00002.parquet, …, in order. Empty if none exists. Throws Exit::data if shards do
// not make one complete set.
std::vector<std::filesystem::path> row_files(const std::filesystem::path& file);

// Returns the file of a split in a set's folder for row_files(): Set/original.jsonl. Throws Exit::data if its rows
// exist in two forms.
std::filesystem::path split_file(const std::filesystem::path& folder, const std::string& split);

// Returns the split of a file: original for original.jsonl, original.parquet and original-00000-of-00002.parquet; "" if
// it is not a file of rows.
std::string split_of(const std::filesystem::path& file);

// Returns the columns of a Parquet file's schema, without reading values, or the keys of the first JSON line. Throws
// like read_rows().
std::vector<std::string> column_names(const std::filesystem::path& file);

// Calls row(object) for each row in row_files(file); a positive `limit` stops after so many rows. Reads only `columns`
// of a Parquet file if any are named; binary values are names of bytes (binary_name(), parquet.h) unless `binary` says
// otherwise. Errors (Exit::data), also those of row(), begin with file and row.
void read_rows(const std::filesystem::path& file, const std::vector<std::string>& columns,
               const std::function<void(const nlohmann::ordered_json& row)>& row, int64_t limit = 0,
               const RowFault& fault = {}, ParquetFile::Binary binary = ParquetFile::Binary::name);

}  // namespace vlm2vec
