// The products of bf16 for AVX512-BF16: one instruction adds 16 pairs of products.
#include <immintrin.h>

#include "tensor/cpu/simd/table.h"

#define SIMD_LANES 16
#define BF16_KC 512  // a panel of B, 32 KiB, stays in the L1 cache
namespace vlm2vec::avx512bf16 {
namespace {
// clang-format off
#include "tensor/cpu/simd/vector.inl.h"
#include "tensor/cpu/simd/bf16.inl.h"
#include "tensor/cpu/simd/softmax.inl.h"
#include "tensor/cpu/simd/bf16_attention.inl.h"
// clang-format on

void begin_blocks() {}
void end_blocks() {}

INLINE V add_products(V sum, V a, V b) { return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }

// Eight rows of a block: 8 · N registers sum.
template <int N>
INLINE void eight_rows(const Block& t, int64_t first) {
  V sum[8][N];
  UNROLL for (int r = 0; r < 8; ++r) {
    const float* const from = t.from + (first + r) * t.from_stride;
    UNROLL for (int j = 0; j < N; ++j) sum[r][j] = t.from ? load(from + j * W) : V{};
  }
  const uint16_t *a = t.a + first * step, *b = t.b;
  for (int64_t s = 0; s < t.steps; ++s, a += panel_step, b += panel_step)
    for (int p = 0; p < W; ++p) {
      V row[N];
      UNROLL for (int j = 0; j < N; ++j) row[j] = load_pairs(b + j * tile_size + p * step);
      UNROLL for (int r = 0; r < 8; ++r) {
        const V factor = splat(*(const UnalignedFloat*)(a + r * step + 2 * p));
        UNROLL for (int j = 0; j < N; ++j) sum[r][j] = add_products(sum[r][j], factor, row[j]);
      }
    }
  UNROLL for (int r = 0; r < 8; ++r) {
    UNROLL for (int j = 0; j < N; ++j) store(t.to + (first + r) * t.to_stride + j * W, sum[r][j]);
  }
}
void block(const Block& t) {
  for (int64_t r = 0; r < t.rows; r += 8)
    if (t.columns > lines) eight_rows<2>(t, r);
    else eight_rows<1>(t, r);
}

int64_t spin(int64_t n, const uint16_t* numbers) {
  constexpr int chains = 24;  // hide the latency of two pipes
  const V a = load_pairs(numbers), b = load_pairs(numbers + step);
  V sum[chains];
  UNROLL for (int j = 0; j < chains; ++j) sum[j] = splat(float(j));
  for (int64_t i = 0; i < n; ++i) {
    UNROLL for (int j = 0; j < chains; ++j) sum[j] = add_products(sum[j], a, b);
  }
  UNROLL for (int j = 1; j < chains; ++j) sum[0] += sum[j];
  volatile float sink = sum[0][0];
  (void)sink;
  return n * chains * W * 4;
}
}  // namespace

extern const Bf16Products bf16_products;
const Bf16Products bf16_products = {
    .gemm = gemm, .attention = attention, .attention_backward = attention_backward, .spin = spin};

}  // namespace vlm2vec::avx512bf16
