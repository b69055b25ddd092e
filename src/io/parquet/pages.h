// Reads values one by one in any order; the pages last used are kept.
#pragma once
#include <memory>
#include <string_view>

#include "io/parquet/column.h"

namespace vlm2vec::parquet {

// A value of a column of bytes, and its owner in memory.
struct KeptValue {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

// Returns the value at `place` in the file of `chunk` and `leaf`; `file` keeps all three in memory. Safe from any
// thread; threads that want the same page wait for the one that reads it. Throws Exit::data if there is no value.
KeptValue value_at(const std::shared_ptr<const void>& file, const Chunk& chunk, const Leaf& leaf, Place place);

}  // namespace vlm2vec::parquet
