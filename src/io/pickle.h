// The part of Python's pickle (protocol 2) that torch.save writes for a dictionary of tensors. A pickle is a program:
// this reader knows only the instructions that rebuild tensors, and only torch's own rebuilding function. Everything
// else is refused, functions by name, and never run.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "io/stored_array.h"

namespace vlm2vec {

// Numbers that a pickle refers to: `count` of `type`, stored beside it under `key`.
struct PickledStorage {
  std::string key;
  const StoredType* type;
  int64_t count;
};

// Returns {name: tensor}. `load` fetches a storage's bytes. A tensor that is not contiguous (a view) is copied.
// Errors (Exit::data) begin with `source`.
StoredArrays unpickle_tensors(std::span<const uint8_t> pickle, const std::string& source,
                              const std::function<FileBytes(const PickledStorage&)>& load);

}  // namespace vlm2vec
