// The fast kernels of norms: a row is read once, 16 bytes at a time, and stays on the chip between its passes.
#pragma once
#include "kernels/vectors.h"

namespace vlm2vec::BACKEND {

// A row stays in registers up to this many numbers, beyond it in shared memory: two rows of f32 in 128 KiB.
constexpr int most_in_registers = 8192, most_in_shared = 16384;

// Whether rows of x are whole groups of 16 bytes and fit. Else norm.cu computes them.
inline bool fits_row_norm(const Tensor& x, std::initializer_list<const Tensor*> others) {
  const bool whole =
      (x.dtype() == DType::bf16 && x.columns() % 8 == 0) || (x.dtype() == DType::f32 && x.columns() % 4 == 0);
  return whole && x.columns() <= most_in_shared && aligned_16({&x}) && aligned_16(others);
}

// As the functions of norm.cu; `added` and `sum` are undefined for a norm of x alone.
void row_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps, const Tensor& sum, const Tensor& y,
                  const Tensor& rstd);
void row_rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before,
                     const Tensor& dx);
void row_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd);
void row_layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                       const Tensor& before, const Tensor& dx);

}  // namespace vlm2vec::BACKEND
