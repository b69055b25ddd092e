#include "tensor/finite.h"

#include <atomic>
#include <cmath>

#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

template <class T>
bool all_are_finite(const T* values, int64_t count) {
  std::atomic<bool> all = true;
  parallel_for(count, 1 << 16, [&](int64_t begin, int64_t end) {
    bool good = true;
    for (int64_t i = begin; i < end; ++i) good &= std::isfinite(values[i]);
    if (!good) all = false;
  });
  return all;
}

}  // namespace

bool all_finite(const Tensor& t) {
  return t.dtype() == DType::f64 ? all_are_finite(t.data<double>(), t.numel())
                                 : all_are_finite(t.data<float>(), t.numel());
}

}  // namespace vlm2vec
