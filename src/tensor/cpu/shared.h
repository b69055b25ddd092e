// Shared by the functions of this folder. They compute in f32 (f64 runs the scalar kernels); errors name the operation.
#pragma once
#include <algorithm>

#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"
#include "tensor/tensor.h"

namespace vlm2vec::cpu {

inline float* f32(const char* op, const Tensor& x) {
  CHECK(x.dtype() == DType::f32, op, ": on the CPU expected f32, got ", x,
        "; bf16 is for the second factor of a product and for embedding tables only");
  return x.data<float>();
}

inline bool both_bf16(const GemmTask& g) { return g.a_type == Stored::bf16 && g.b_type == Stored::bf16; }
void gemm(const GemmTask& g);  // C[m, n] (+)= op(A)·op(B) + bias, spread over the threads; see GemmTask

// The fewest numbers per thread: below this, waking the thread takes longer than the work.
constexpr int64_t grain = 1 << 14;
inline int64_t grain_of(int64_t numbers_each) { return grain / (numbers_each + 1) + 1; }

// Runs f(begin, end) on ranges of rows.
template <class F>
void parallel_rows(int64_t rows, int64_t columns, F&& f) {
  parallel_for(rows, grain_of(columns), f);
}

// Runs f(begin, end) on ranges of columns. One thread sums a column from top to bottom, so its bits do not depend on
// the number of threads. Ranges begin at multiples of 64: whole cache lines.
template <class F>
void parallel_columns(int64_t rows, int64_t columns, F&& f) {
  constexpr int64_t strip = 64;
  parallel_for((columns + strip - 1) / strip, grain_of(strip * rows),
               [&](int64_t begin, int64_t end) { f(begin * strip, std::min(columns, end * strip)); });
}

}  // namespace vlm2vec::cpu
