// The part of Python's pickle (protocol 2) that torch.save writes for a dictionary of tensors. A pickle is a program:
// this reader knows only the instructions that rebuild tensors, and only torch's own rebuilding function. Everything
// else is never run; it is refused, functions by name.
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

// Returns {name: tensor}. With `part`, the pickle is a training run's dictionary, and that of this name in it is
// returned; what lies beside it, also tensors of other types, is passed over and neither made nor run. `load` fetches a
// storage's bytes. A tensor that is not contiguous (a view) is copied. Errors (Exit::data) begin with `source`.
StoredArrays unpickle_tensors(std::span<const uint8_t> pickle, const std::string& source,
                              const std::function<FileBytes(const PickledStorage&)>& load,
                              const std::string& part = "");

}  // namespace vlm2vec
