// A Parquet file's metadata: the footer with schema and row groups, and the header before each page.
// Names and numbers as in https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io/parquet/bytes.h"

namespace vlm2vec::parquet {

enum class Physical { boolean, int32, int64, int96, float32, float64, bytes, fixed_bytes };
enum class Repetition { required, optional, repeated };
enum class Annotation {
  none,
  text,
  list,
  map,
  signed_int,
  unsigned_int,
  binary,
  decimal,
  date,
  time,
  timestamp,
  interval,
  uuid,
  float16,
  other
};
enum class Codec { none, snappy, gzip, lzo, brotli, lz4, zstd, lz4_raw };
enum class Encoding {
  plain = 0,
  plain_dictionary = 2,
  rle = 3,
  bit_packed = 4,
  delta_binary_packed = 5,
  delta_length_byte_array = 6,
  delta_byte_array = 7,
  rle_dictionary = 8,
  byte_stream_split = 9
};

std::string name_of(Physical type);      // "INT32"
std::string name_of(Codec codec);        // "brotli"
std::string name_of(Encoding encoding);  // "DELTA_BYTE_ARRAY"

// The meaning of a column's numbers or bytes.
struct Meaning {
  Annotation kind = Annotation::none;
  std::string name = {};  // "TIMESTAMP", for sentences
  int digits = 0;         // after the point: of a decimal, and of the second of a time (3, 6 or 9)
  bool utc = false;       // a timestamp in UTC, not in local time
};

struct SchemaElement {
  std::string name;
  std::optional<Physical> type;  // none: a group of the next `children` elements and their children
  int64_t width = 0;             // bytes of a value of Physical::fixed_bytes
  Repetition repetition = Repetition::required;
  int64_t children = 0;
  Meaning meaning;
};

// The pages of one column in one row group, inside the file.
struct Chunk {
  Physical type = Physical::boolean;
  Codec codec = Codec::none;
  int64_t values = 0;  // with nulls
  uint64_t begin = 0;  // byte of the file
  Span pages;
  std::string fault;  // why this column cannot be read; empty: it can
};

struct RowGroup {
  int64_t rows = 0;
  std::vector<Chunk> chunks;  // one for each leaf of the schema, in its order
};

struct Metadata {
  std::vector<SchemaElement> schema;  // the tree, depth first; [0] is the root
  std::vector<RowGroup> groups;
  int64_t rows = 0;
  // Arrow marks every text, so its unmarked bytes are not text. Some older writers (Impala, Hive) mark no texts.
  bool marks_texts = false;
};

// Throws Exit::data with one sentence, without the file's name, as do all inner functions of this folder.
Metadata read_metadata(Span file);

struct PageHeader {
  enum class Kind { data, index, dictionary, data_v2 } kind = Kind::data;
  int64_t stored_size = 0, size = 0;  // bytes after the header; the same without compression
  std::optional<uint32_t> checksum;   // CRC-32 of the stored bytes
  int64_t values = 0;                 // with nulls; of a dictionary: its entries
  Encoding encoding = Encoding::plain, definition_encoding = Encoding::rle, repetition_encoding = Encoding::rle;
  int64_t definition_size = 0, repetition_size = 0;  // in a data page V2
  bool compressed = true;
};

PageHeader read_page_header(Bytes& bytes);  // moves `bytes` behind it

}  // namespace vlm2vec::parquet
