// Reads numbers off a file's bytes, little-endian, and never beyond their end.
#pragma once
#include "io/error.h"
#include "vlm/image/decoders.h"

namespace vlm2vec {

class ByteReader {
 public:
  ByteReader(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Bytes take(size_t count) {
    if (count > left()) fail(Exit::data, name_, ": the picture is truncated: it ends after ", bytes_.size(), " bytes");
    position_ += count;
    return bytes_.subspan(position_ - count, count);
  }
  int u8() { return take(1)[0]; }
  int u16() {
    const Bytes b = take(2);
    return b[0] | b[1] << 8;
  }
  uint32_t u32() {
    const Bytes b = take(4);
    return b[0] | b[1] << 8 | b[2] << 16 | uint32_t(b[3]) << 24;
  }
  void seek(size_t position) { position_ = std::min(position, bytes_.size()); }
  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

 private:
  Bytes bytes_;
  const std::string& name_;
  size_t position_ = 0;
};

}  // namespace vlm2vec
