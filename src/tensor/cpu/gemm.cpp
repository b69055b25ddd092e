#include "tensor/cpu/shared.h"

namespace vlm2vec::cpu {

// Below this many operations, waking a thread takes longer than the product.
constexpr double serial_flops = 1.5e6;

void gemm(const GemmTask& g) {
  const auto part = both_bf16(g) && simd().gemm_bf16 ? simd().gemm_bf16 : simd().gemm;
  const bool serial = 2.0 * double(g.m) * double(g.n) * double(g.k) < serial_flops;
  // Splits the longer side: every thread then packs the smaller operand. Columns are split in whole strips.
  const bool by_rows = g.m >= g.n;
  const int64_t strip = by_rows ? 1 : 32, units = ((by_rows ? g.m : g.n) + strip - 1) / strip;
  const int64_t parts = serial ? 1 : std::min<int64_t>(threads(), units);
  // parallel_for runs even a single part: it flushes denormals, so results do not depend on the number of parts.
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = units * begin / parts * strip, last = units * end / parts * strip;
    if (by_rows) part(g, first, std::min(last, g.m), 0, g.n);
    else part(g, 0, g.m, first, std::min(last, g.n));
  });
}

}  // namespace vlm2vec::cpu
