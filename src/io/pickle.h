// The part of Python's pickle (protocol 2) that torch.save writes for a dictionary of tensors. A pickle is a program;
// of its instructions only those that rebuild tensors are known here, and of its functions only torch's own rebuilding.
// Whatever else it asks for is refused by name, and never run.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "io/safetensors.h"

namespace vlm2vec {

// Numbers that a pickle refers to: `count` of `dtype`, stored beside it under `key`.
struct PickledStorage {
  std::string key;
  DType dtype;
  int64_t count;
};

// {name: tensor}. `load` fetches a storage's bytes as u8. A tensor that is not contiguous (a transposed view) is copied.
// Errors (Exit::data) begin with `source`.
NamedTensors unpickle_tensors(std::span<const uint8_t> pickle, const std::string& source,
                              const std::function<Tensor(const PickledStorage&)>& load);

}  // namespace vlm2vec
