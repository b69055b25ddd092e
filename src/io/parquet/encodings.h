// Reads the values of a page one by one, in each of Parquet's encodings. Nothing is decoded ahead: a claim takes no
// memory. https://github.com/apache/parquet-format/blob/master/Encodings.md
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "io/parquet/metadata.h"

namespace vlm2vec::parquet {

// Runs of one number and of bit-packed numbers in turn (RLE/bit-packing hybrid): levels, dictionary indices, booleans.
class Runs {
 public:
  Runs(Span bytes, int width) : bytes_(bytes), width_(width) {}
  uint32_t next() {
    if (left_ == 0) begin_run();
    --left_;
    if (packed_.empty()) return value_;
    const uint64_t value = bits_at(packed_, bit_, width_);
    bit_ += uint64_t(width_);
    return uint32_t(value);
  }

 private:
  void begin_run();

  Bytes bytes_;
  int width_;
  uint64_t left_ = 0;  // numbers left in the run
  uint32_t value_ = 0;
  Span packed_;
  uint64_t bit_ = 0;
};

// Levels: as runs, or in old files bit-packed with the high bits first.
class Levels {
 public:
  Levels() : Levels({}, 0, Encoding::rle) {}
  Levels(Span bytes, int most, Encoding encoding);
  int next() {
    const uint32_t level = most_ == 0 ? 0 : high_first_ ? next_high_first() : runs_.next();
    if (level > uint32_t(most_)) fail(Exit::data, "a level is ", level, ", expected at most ", most_);
    return int(level);
  }
  static int width(int most);  // bits of a level
 private:
  uint32_t next_high_first();

  int most_;
  bool high_first_;
  Span bytes_;
  uint64_t bit_ = 0;
  Runs runs_;
};

// The values of one page that are not null, in order; a column has either numbers or texts (bytes of any kind).
class Values {
 public:
  virtual ~Values() = default;
  virtual uint64_t number();  // its bits: the lower 32 of INT32 and FLOAT, the lowest of BOOLEAN
  virtual std::string_view text();
  virtual bool texts_stay() const { return true; }  // false: text() is valid until the next one
};

// The content of a column's dictionary page.
class Dictionary {
 public:
  // `width`: bytes of a value; 0: texts that say their length. `page` must stay where it is.
  Dictionary(Physical type, size_t width, Span page, int64_t entries);
  uint64_t number(uint32_t index) const;
  std::string_view text(uint32_t index) const;

 private:
  void check(uint32_t index) const;
  size_t width_;
  Span page_;
  size_t entries_ = 0;
  std::vector<std::string_view> texts_;
};

// `width` as above. Without `dictionary` a page that needs one is refused.
std::unique_ptr<Values> read_values(Encoding encoding, Physical type, size_t width, Span bytes,
                                    const Dictionary* dictionary);

}  // namespace vlm2vec::parquet
