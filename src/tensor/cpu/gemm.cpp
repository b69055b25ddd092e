#include "tensor/cpu/shared.h"

namespace vlm2vec::cpu {
namespace {

// Below this many operations, waking a thread takes longer than the product.
constexpr double serial_flops = 1.5e6;
constexpr int64_t strip = 32;  // columns are split in whole strips

// C is cut into rows × columns parts, one for each thread. Each row of parts packs B, each column of parts packs A: the
// cheapest of the grids is taken.
struct Grid {
  int64_t rows, columns;
};
Grid grid_of(const GemmTask& g, int64_t parts) {
  const int64_t strips = (g.n + strip - 1) / strip;
  Grid best{1, 1};
  for (int64_t rows = 1; rows <= parts; ++rows) {
    const Grid grid{std::min(rows, g.m), std::min(parts / rows, strips)};
    const auto packed = [&](const Grid& x) { return x.rows * g.n + x.columns * g.m; };
    const int64_t more = grid.rows * grid.columns - best.rows * best.columns;
    if (more > 0 || (more == 0 && packed(grid) < packed(best))) best = grid;
  }
  return best;
}

}  // namespace

void gemm(const GemmTask& g) {
  if (g.m == 0 || g.n == 0) return;
  const auto part = both_bf16(g) && simd().gemm_bf16 ? simd().gemm_bf16 : simd().gemm;
  const bool serial = 2.0 * double(g.m) * double(g.n) * double(g.k) < serial_flops;
  const Grid grid = grid_of(g, serial ? 1 : threads());
  const int64_t strips = (g.n + strip - 1) / strip;
  // parallel_for runs even a single part: it flushes denormals, so results do not depend on the number of parts.
  parallel_for(grid.rows * grid.columns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / grid.columns, column = i % grid.columns;
      part(g, g.m * row / grid.rows, g.m * (row + 1) / grid.rows, strips * column / grid.columns * strip,
           std::min(strips * (column + 1) / grid.columns * strip, g.n));
    }
  });
}

}  // namespace vlm2vec::cpu
