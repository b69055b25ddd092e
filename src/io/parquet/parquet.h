// Parquet files, read row by row (https://parquet.apache.org/docs/file-format/), as MMEB, the `datasets` library,
// pyarrow, Polars and Spark write them.
//   Read:    pages V1 and V2, uncompressed or with snappy, gzip, Brotli, LZ4 or zstd; PLAIN, dictionaries, RLE,
//            BIT_PACKED levels, all DELTA_* and BYTE_STREAM_SPLIT encodings; booleans, integers of up to 64 bits with
//            and without sign, floating point of 16 to 64 bits, texts, bytes, and the types of logical.h; nulls;
//            nested lists, structs and maps, up to 30 deep; checksums.
//   Refused: lzo and encryption, and texts that are not UTF-8, each when such a column is read.
// The file is mapped; each wanted column has one page and one dictionary in memory, whatever the file claims.
//
// Rows do not copy binary values such as pictures; they hold a name, which is a path. Row 18 holds
//   photos/train.parquet/image.bytes/18@4096+17
// This is value 17 (from 0) of the page that begins at byte 4096 of the file. read_file_or_member() in archive.h takes
// such a name, as it takes that of a zip's member.
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
  std::vector<std::string> columns() const;  // the first level, in the file's order

  struct Selection {
    // Only these, in the file's order; unknown names are ignored. None: all.
    std::vector<std::string> columns = {};
    int64_t first = 0, count = -1;  // rows from `first` on, at most `count` of them; negative: all
    Binary binary = Binary::name;
  };
  // Calls row({column: value, …}) for each row. Integers are exact; a NaN or an infinity stays one, which JSON writes
  // as null; a map is a list of {key, value}. A binary value is a JSON binary that holds its name (see binary_name()),
  // or its size as an integer, or a text in base64. Row groups before `first` are not touched.
  // An Error that row() throws gets file and row (from 1) before its sentence.
  void read(const std::function<void(const nlohmann::ordered_json& row)>& row, const Selection& selection) const;

  // `value`: the part of a value's name behind the file, "image.bytes/18@4096+17". Safe from any thread. A page without
  // compression is not copied; other pages last used stay in memory, about kPageCacheBytes for all files together.
  bool contains(const std::string& value) const;
  FileBytes read_value(const std::string& value, uint64_t most) const;

  struct Content;

 private:
  explicit ParquetFile(std::shared_ptr<const Content> content) : content_(std::move(content)) {}
  std::shared_ptr<const Content> content_;
};

inline constexpr size_t kPageCacheBytes = size_t(64) << 20;

// Returns the name that a binary value of a row holds.
std::string binary_name(const nlohmann::ordered_json& value);

}  // namespace vlm2vec
