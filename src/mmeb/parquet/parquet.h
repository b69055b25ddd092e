// Parquet files, read row by row (https://parquet.apache.org/docs/file-format/), as MMEB, the `datasets` library,
// pyarrow, Polars and Spark write them.
//   Read:    pages V1 and V2, uncompressed or with snappy, gzip or zstd; PLAIN, dictionaries, RLE, BIT_PACKED levels,
//            all DELTA_* and BYTE_STREAM_SPLIT encodings; booleans, integers of up to 64 bits with and without sign,
//            FLOAT, DOUBLE, texts; nulls; lists, structs and maps in each other, as deep as 30; checksums, where there
//            are some.
//   Refused: brotli, lz4 and lzo; encrypted files; columns of any other type (INT96, DECIMAL, DATE, TIME, TIMESTAMP,
//            FIXED_LEN_BYTE_ARRAY, …) and bytes that are not UTF-8, when such a column is read.
// The file is mapped; of each wanted column one page and one dictionary are in memory, whatever the file claims.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace vlm2vec {

class ParquetFile {
 public:
  // Errors (Exit::data), here and in read(), begin with the file and are one sentence.
  static ParquetFile open(const std::filesystem::path& file);

  int64_t rows() const;
  std::vector<std::string> columns() const;  // of the first level, in the file's order

  struct Selection {
    std::vector<std::string> columns =
        {};                         // only these, in the file's order; names that it lacks are ignored; none: all
    int64_t first = 0, count = -1;  // rows from `first` on, at most `count` of them; negative: all
  };
  // Calls row({column: value, …}) for each row. Integers are exact; a NaN or an infinity stays one, which JSON writes
  // as null; a map is a list of {key, value}. Row groups before `first` are not touched. An Error that row() throws
  // gets file and row (from 1) before its sentence.
  void read(const std::function<void(const nlohmann::ordered_json& row)>& row, const Selection& selection) const;

 private:
  struct Content;
  explicit ParquetFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}
  std::shared_ptr<const Content> content_;
};

}  // namespace vlm2vec
