// The shared body of base.cpp, avx2.cpp and avx512.cpp. It fills SIMD_ISA::table with code for SIMD_LANES floats per
// vector. All functions have internal linkage: the linker can never mix instruction sets (a test checks this).
#include <immintrin.h>

#include "tensor/cpu/simd/table.h"

#define SIMD_NAME_OF(isa) #isa
#define SIMD_NAME(isa) SIMD_NAME_OF(isa)

namespace vlm2vec::SIMD_ISA {
namespace {
// The order matters: later files use earlier ones.
// clang-format off
#include "tensor/cpu/simd/vector.inl.h"
#include "tensor/cpu/simd/tile.inl.h"
#include "tensor/cpu/simd/gemm.inl.h"
#include "tensor/cpu/simd/elementwise.inl.h"
#include "tensor/cpu/simd/activation.inl.h"
#include "tensor/cpu/simd/reduce.inl.h"
#include "tensor/cpu/simd/norm.inl.h"
#include "tensor/cpu/simd/rope.inl.h"
#include "tensor/cpu/simd/softmax.inl.h"
#include "tensor/cpu/simd/attention.inl.h"
// clang-format on
}  // namespace

extern const Simd table;
const Simd table = {
    .name = SIMD_NAME(SIMD_ISA),
    .lanes = SIMD_LANES,
    .gemm = gemm,
    .add = add,
    .add_to = add_to,
    .multiply = multiply,
    .scale = scale,
    .widen = widen,
    .widen_f16 = widen_f16,
    .narrow = narrow,
    .dropout = dropout,
    .adamw = adamw,
    .exp = exp,
    .silu = silu,
    .silu_dx = silu_dx,
    .gelu = gelu,
    .gelu_dx = gelu_dx,
    .quick_gelu = quick_gelu,
    .quick_gelu_dx = quick_gelu_dx,
    .gelu_tanh = gelu_tanh,
    .gelu_tanh_dx = gelu_tanh_dx,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .dot = dot,
    .sum_of_squares = sum_of_squares,
    .sum_exp = sum_exp,
    .max = max,
    .column_sums = column_sums,
    .rms_norm = rms_norm,
    .rms_norm_dx = rms_norm_dx,
    .rms_norm_dw = rms_norm_dw,
    .layer_norm = layer_norm,
    .layer_norm_dx = layer_norm_dx,
    .layer_norm_dw = layer_norm_dw,
    .l2_normalize = l2_normalize,
    .l2_normalize_dx = l2_normalize_dx,
    .rope = rope,
    .attention = attention,
    .attention_backward = attention_backward,
};

}  // namespace vlm2vec::SIMD_ISA
