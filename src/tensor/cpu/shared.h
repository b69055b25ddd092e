// What the functions of this folder share. They know f32 (f64 runs the scalar kernels); an error names the operation.
#pragma once
#include <algorithm>

#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace vlm2vec::cpu {

inline float* f32(const char* op, const Tensor& x) {
  CHECK(x.dtype() == DType::f32, op, ": on the CPU expected f32, got ", x,
        "; bf16 is for the second factor of a product and for embedding tables only");
  return x.data<float>();
}

// A thread takes at least so many numbers: for fewer, waking it takes longer than the work.
constexpr int64_t grain = 1 << 14;
inline int64_t grain_of(int64_t numbers_each) { return grain / (numbers_each + 1) + 1; }

// f(begin, end) on ranges of rows of this many columns.
template <class F>
void parallel_rows(int64_t rows, int64_t columns, F&& f) {
  parallel_for(rows, grain_of(columns), f);
}

// f(begin, end) on ranges of columns, of all rows each: every column's sum has one owner, who adds from top to bottom,
// so its bits do not depend on the number of threads. Ranges begin at multiples of 64, whole cache lines.
template <class F>
void parallel_columns(int64_t rows, int64_t columns, F&& f) {
  constexpr int64_t strip = 64;
  parallel_for((columns + strip - 1) / strip, grain_of(strip * rows),
               [&](int64_t begin, int64_t end) { f(begin * strip, std::min(columns, end * strip)); });
}

}  // namespace vlm2vec::cpu
