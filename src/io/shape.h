// The sides of an array.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vlm2vec {

using Shape = std::vector<int64_t>;

inline std::string to_string(const Shape& shape) {  // "[3, 4]"
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

inline int64_t numel(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

}  // namespace vlm2vec
