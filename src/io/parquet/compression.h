// Unpacks pages that snappy, gzip, Brotli, LZ4 or zstd compressed.
#pragma once
#include <memory>

#include "io/parquet/metadata.h"

namespace vlm2vec::parquet {

// Memory that pages take turns to use.
class Buffer {
 public:
  uint8_t* at_least(size_t size) {  // its old content is lost when it has to grow
    if (!bytes_ || size > capacity_) {
      bytes_.reset(), capacity_ = 0;
      bytes_ = std::make_unique_for_overwrite<uint8_t[]>(size), capacity_ = size;
    }
    return bytes_.get();
  }
  size_t capacity() const { return capacity_; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  size_t capacity_ = 0;
};

// Returns the `size` bytes that `stored` holds: itself without compression, else in `buffer`. A page that only claims
// to be large takes at most twice the memory of its content.
Span decompress(Codec codec, Span stored, size_t size, Buffer& buffer);

}  // namespace vlm2vec::parquet
