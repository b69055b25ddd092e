// The products of bf16 for AMX: one instruction multiplies two tiles, 16 × 32 by 32 × 16.
#include <immintrin.h>

#include "tensor/cpu/simd/table.h"

#define SIMD_LANES 16
#define BF16_KC 1280  // a number of C is seldom fetched again: that takes as long as 512 products of it
namespace vlm2vec::amx {
namespace {
// clang-format off
#include "tensor/cpu/simd/vector.inl.h"
#include "tensor/cpu/simd/bf16.inl.h"
#include "tensor/cpu/simd/softmax.inl.h"
#include "tensor/cpu/simd/bf16_attention.inl.h"
// clang-format on

// All eight tile registers: 16 rows of 64 bytes.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
void begin_blocks() {
  static const TileShapes shapes;
  _tile_loadconfig(&shapes);
}
void end_blocks() { _tile_release(); }

// R × N tiles of C in the registers 0 … 3; 4 and 5 hold A, 6 and 7 hold B.
template <int R, int N>
INLINE void tiles(const Block& t) {
  asm volatile("" ::: "memory");  // the compiler does not know that tile loads read memory
  const int64_t row = t.from_stride * 4, out = t.to_stride * 4;
  if (t.from) {
    _tile_loadd(0, t.from, row);
    if (N == 2) _tile_loadd(1, t.from + lines, row);
    if (R == 2) _tile_loadd(2, t.from + lines * t.from_stride, row);
    if (R == 2 && N == 2) _tile_loadd(3, t.from + lines * t.from_stride + lines, row);
  } else {
    _tile_zero(0);
    if (N == 2) _tile_zero(1);
    if (R == 2) _tile_zero(2);
    if (R == 2 && N == 2) _tile_zero(3);
  }
  const uint16_t *a = t.a, *b = t.b;
  for (int64_t s = 0; s < t.steps; ++s, a += panel_step, b += panel_step) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (N == 2) {
      _tile_loadd(7, b + tile_size, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (R == 2) {
      _tile_loadd(5, a + tile_size, 64);
      _tile_dpbf16ps(2, 5, 6);
      if (N == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, t.to, out);
  if (N == 2) _tile_stored(1, t.to + lines, out);
  if (R == 2) _tile_stored(2, t.to + lines * t.to_stride, out);
  if (R == 2 && N == 2) _tile_stored(3, t.to + lines * t.to_stride + lines, out);
}
void block(const Block& t) {
  if (t.rows > lines) t.columns > lines ? tiles<2, 2>(t) : tiles<2, 1>(t);
  else t.columns > lines ? tiles<1, 2>(t) : tiles<1, 1>(t);
}

int64_t spin(int64_t n, const uint16_t* numbers) {
  begin_blocks();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  asm volatile("" ::: "memory");
  _tile_loadd(4, numbers, 64);
  _tile_loadd(5, numbers + tile_size, 64);
  _tile_loadd(6, numbers + 2 * tile_size, 64);
  _tile_loadd(7, numbers + 3 * tile_size, 64);
  for (int64_t i = 0; i < n; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  end_blocks();
  return n * 4 * 2 * lines * lines * step;
}
}  // namespace

extern const Bf16Products bf16_products;
const Bf16Products bf16_products = {
    .gemm = gemm, .attention = attention, .attention_backward = attention_backward, .spin = spin};

}  // namespace vlm2vec::amx
