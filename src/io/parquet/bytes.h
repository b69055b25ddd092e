// Reads a span of bytes and never passes its end. Parquet's headers, run lengths and differences share integers of
// variable length: seven bits a byte, low bits first (LEB128), signs folded in by zigzag.
#pragma once
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec::parquet {

using Span = std::span<const uint8_t>;

class Bytes {
 public:
  explicit Bytes(Span bytes) : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  size_t left() const { return size_t(end_ - at_); }
  size_t position() const { return size_t(at_ - begin_); }
  Span rest() const { return {at_, end_}; }

  Span take(uint64_t count) {
    if (count > left()) fail(Exit::data, "the data end early (", left(), " bytes of ", count, ")");
    at_ += count;
    return {at_ - count, at_};
  }
  uint8_t byte() { return take(1)[0]; }
  uint32_t u32() {
    uint32_t value;
    std::memcpy(&value, take(4).data(), 4);
    return value;
  }
  std::string_view text() { return as_text(take(u32())); }  // u32 length, then that many bytes
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t b = byte();
      value |= uint64_t(b & 127) << shift;
      if (b < 128) return value;
    }
    fail(Exit::data, "a number has more than 64 bits");
  }
  int64_t zigzag() {
    const uint64_t value = varint();
    return int64_t(value >> 1) ^ -int64_t(value & 1);
  }

 private:
  const uint8_t *begin_, *at_, *end_;
};

// Counts how deep a reader is within structs or columns.
struct Nested {
  explicit Nested(int& depth) : depth(depth) {
    if (++depth > 32) fail(Exit::data, "structs or columns are nested more than 32 deep");
  }
  ~Nested() { --depth; }
  int& depth;
};

// Returns `width` (0 to 64) bits of `bytes` from bit number `bit` on, low bits first. The bits must be there.
inline uint64_t bits_at(Span bytes, uint64_t bit, int width) {
  if (width == 0) return 0;
  const uint8_t* at = bytes.data() + bit / 8;
  const size_t left = bytes.size() - size_t(bit / 8);
  const int shift = int(bit % 8);
  uint64_t word = 0;
  if (left >= 8) std::memcpy(&word, at, 8);
  else std::memcpy(&word, at, left);
  word >>= shift;
  if (shift + width > 64) word |= uint64_t(at[8]) << (64 - shift);
  return width == 64 ? word : word & ((uint64_t(1) << width) - 1);
}

}  // namespace vlm2vec::parquet
