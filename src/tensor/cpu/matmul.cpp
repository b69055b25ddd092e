// c = op(a)·op(b) + bias as one task for gemm.h; b may be bf16 or f16, both may be bf16.
#include "kernels/kernels.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/shared.h"

namespace vlm2vec::cpu {

void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c) {
  const bool a_narrow = a.dtype() == DType::bf16, b_narrow = b.dtype() == DType::bf16 || b.dtype() == DType::f16;
  gemm({.m = c.rows(),
        .n = c.columns(),
        .k = options.transpose_a ? a.rows() : a.columns(),
        .a = a_narrow ? a.raw() : f32("matmul", a),
        .a_stride = a.columns(),
        .b = b_narrow ? b.raw() : f32("matmul", b),
        .b_stride = b.columns(),
        .c = f32("matmul", c),
        .c_stride = c.columns(),
        .transpose_a = options.transpose_a,
        .transpose_b = options.transpose_b,
        .a_is_bf16 = a_narrow,
        .b_is_bf16 = b.dtype() == DType::bf16,
        .b_is_f16 = b.dtype() == DType::f16,
        .accumulate = options.accumulate,
        .bias = bias ? f32("matmul", bias) : nullptr});
}

}  // namespace vlm2vec::cpu
