// Parquet files, read row by row (https://parquet.apache.org/docs/file-format/), as MMEB, the `datasets` library,
// pyarrow, Polars and Spark write them.
//   Read:    pages V1 and V2, uncompressed or with snappy, gzip, Brotli, LZ4 or zstd; PLAIN, dictionaries, RLE,
//            BIT_PACKED levels, all DELTA_* and BYTE_STREAM_SPLIT encodings; booleans, integers of up to 64 bits with
//            and without sign, floating point of 16 to 64 bits, texts, bytes, and what logical.h makes texts of; nulls;
//            lists, structs and maps in each other, as deep as 30; checksums, where there are some.
//   Refused: lzo and encryption, and texts that are not UTF-8, each when such a column is read.
// The file is mapped; of each wanted column one page and one dictionary are in memory, whatever the file claims.
//
// Rows do not copy binary values such as pictures; they hold a name, which is a path: of row 18
//   photos/train.parquet/image.bytes/18@4096+17
// They are the 18th (from 0) value of the page that begins at byte 4096 of the file. read_file_or_member() in archive.h
// and all that rests on it takes the name, as it does that of a zip's member.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "io/archive.h"

namespace vlm2vec {

class ParquetFile {
 public:
  enum class Binary { name, size, base64 };  // how binary values appear in rows: see read()

  // Errors (Exit::data), here and in read(), begin with the file and are one sentence.
  static ParquetFile open(const std::filesystem::path& file);

  int64_t rows() const;
  std::vector<std::string> columns() const;  // of the first level, in the file's order

  struct Selection {
    // Only these, in the file's order; names that it lacks are ignored. None: all.
    std::vector<std::string> columns = {};
    int64_t first = 0, count = -1;  // rows from `first` on, at most `count` of them; negative: all
    Binary binary = Binary::name;
  };
  // Calls row({column: value, …}) for each row. Integers are exact; a NaN or an infinity stays one, which JSON writes
  // as null; a map is a list of {key, value}. A binary value is a JSON value of the type binary that holds its name
  // (binary_name() below), or its size as an integer, or a text in base64. Row groups before `first` are not touched.
  // An Error that row() throws gets file and row (from 1) before its sentence.
  void read(const std::function<void(const nlohmann::ordered_json& row)>& row, const Selection& selection) const;

  // By the part of a value's name behind the file: "image.bytes/18@4096+17". From any thread. A page without
  // compression is not copied; of others those last used stay in memory, in all files together about kPageCacheBytes.
  bool contains(const std::string& value) const;
  FileBytes read_value(const std::string& value, uint64_t most) const;

  struct Content;

 private:
  explicit ParquetFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}
  std::shared_ptr<const Content> content_;
};

inline constexpr size_t kPageCacheBytes = size_t(64) << 20;

// The name that a binary value of a row holds.
std::string binary_name(const nlohmann::ordered_json& value);

}  // namespace vlm2vec
