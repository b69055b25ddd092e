// Rows wherever they lie: JSON lines, a Parquet file, or Parquet shards as the hub names them.
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

// Where the rows of `file` are: the file itself, or if there is none and it is called Set/original.jsonl,
// Set/original.parquet or the shards Set/original-00000-of-00002.parquet, …, in order. None of them: nothing.
// Errors (Exit::data): shards that do not make one set.
std::vector<std::filesystem::path> row_files(const std::filesystem::path& file);

// The file of a split in a set's folder, as row_files() takes it: Set/original.jsonl. Errors (Exit::data): its rows are
// there in two forms.
std::filesystem::path split_file(const std::filesystem::path& folder, const std::string& split);

// The other way: original of original.jsonl, original.parquet and original-00000-of-00002.parquet; "": no file of rows.
std::string split_of(const std::filesystem::path& file);

// The columns of its rows: of a Parquet file those of its schema, so that no value is read; of JSON lines the first
// row's keys. Errors (Exit::data) as read_rows().
std::vector<std::string> column_names(const std::filesystem::path& file);

// Calls row(object) for each row in row_files(file), of the first `limit` rows if that is positive. Of a Parquet file
// only `columns` are read, if any are named; binary values are names of bytes (binary_name(), parquet.h), unless
// `binary` says otherwise. Errors (Exit::data), also those that row() throws, begin with file and row.
void read_rows(const std::filesystem::path& file, const std::vector<std::string>& columns,
               const std::function<void(const nlohmann::ordered_json& row)>& row, int64_t limit = 0,
               const RowFault& fault = {}, ParquetFile::Binary binary = ParquetFile::Binary::name);

}  // namespace vlm2vec
