// Pages whose values are wanted one by one in any order: those last used are kept.
#pragma once
#include <memory>
#include <string_view>

#include "io/parquet/column.h"

namespace vlm2vec::parquet {

// A value of a column of bytes, and what keeps it in memory.
struct KeptValue {
  std::string_view bytes;
  std::shared_ptr<const void> owner;
};

// The value at `place` in the file to which `chunk` and `leaf` belong; `file` keeps all three in memory. From any
// thread; threads that want the same page wait for the one that reads it. Errors (Exit::data): there is none.
KeptValue value_at(const std::shared_ptr<const void>& file, const Chunk& chunk, const Leaf& leaf, Place place);

}  // namespace vlm2vec::parquet
