// Arrays of numbers as files hold them: type, shape and bytes. tensor/tensor_files.h makes tensors of them.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "io/files.h"
#include "io/shape.h"

namespace vlm2vec {

// A type of numbers as safetensors, NumPy and torch spell it; empty: the format lacks the type, or is not read with it.
struct StoredType {
  const char *name, *npy, *torch;
  int64_t size;  // bytes of one number
};
inline constexpr StoredType kStoredTypes[] = {{"F32", "<f4", "torch.FloatStorage", 4},
                                              {"BF16", "", "torch.BFloat16Storage", 2},
                                              {"F16", "", "torch.HalfStorage", 2},
                                              {"F64", "<f8", "torch.DoubleStorage", 8},
                                              {"I32", "<i4", "", 4},
                                              {"I64", "<i8", "", 8},
                                              {"U8", "|u1", "", 1}};

// find_type(&StoredType::npy, "<f4"); null if no type is spelled that way.
inline const StoredType* find_type(const char* StoredType::*spelling, std::string_view text) {
  for (const StoredType& type : kStoredTypes)
    if (!text.empty() && text == type.*spelling) return &type;
  return nullptr;
}

struct StoredArray {
  const StoredType* type = nullptr;
  Shape shape;
  FileBytes data = {};
  int64_t bytes() const { return numel(shape) * type->size; }
};
using StoredArrays = std::map<std::string, StoredArray>;

}  // namespace vlm2vec
