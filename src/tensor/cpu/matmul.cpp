// Runs c = op(a)·op(b) + bias as one task of gemm.h; the factors may be bf16 or f16.
#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"

namespace vlm2vec::cpu {
namespace {

Stored stored(const Tensor& x) {
  if (x.dtype() == DType::bf16) return Stored::bf16;
  if (x.dtype() == DType::f16) return Stored::f16;
  f32("matmul", x);  // throws for other types
  return Stored::f32;
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c) {
  gemm({.m = c.rows(),
        .n = c.columns(),
        .k = options.transpose_a ? a.rows() : a.columns(),
        .a = a.raw(),
        .a_stride = a.columns(),
        .b = b.raw(),
        .b_stride = b.columns(),
        .c = f32("matmul", c),
        .c_stride = c.columns(),
        .transpose_a = options.transpose_a,
        .transpose_b = options.transpose_b,
        .a_type = stored(a),
        .b_type = stored(b),
        .accumulate = options.accumulate,
        .bias = bias ? f32("matmul", bias) : nullptr});
}

}  // namespace vlm2vec::cpu
