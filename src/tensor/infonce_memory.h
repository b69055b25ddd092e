// How InfoNCE for f32 cuts up its scores, and what it takes of memory beside its arguments and results.
#pragma once
#include <algorithm>
#include <cstdint>

namespace vlm2vec {

struct InfoNceMemory {  // bytes
  int64_t copies = 0;   // of the queries and targets, as numbers of bf16
  int64_t states = 0;   // forward: of each query, one for each stripe of targets, and the score of its label
  int64_t scores = 0;   // those that exist at a time: on devices gradients, in the backward
};

namespace infonce_sizes {

// On devices (infonce_tiles.cu): tiles of 128 × 128 scores, 32 columns of the factors at a time, at most 16 stripes of
// targets, panels of at most 2,048 × 2,048 gradients.
constexpr int side = 128, chunk = 32;
constexpr int64_t most_stripes = 16, panel_side = 2048, state_bytes = 12;
constexpr int64_t cpu_strip = 64;  // queries whose scores the CPU has at a time

constexpr int64_t pieces(int64_t n, int64_t size) { return (n + size - 1) / size; }
constexpr int64_t rounded_up(int64_t n, int64_t to) { return pieces(n, to) * to; }
// Targets of a stripe. They depend on the number of targets only; so do the bits of the sums.
constexpr int64_t stripe(int64_t targets) {
  return std::max<int64_t>(4 * side, rounded_up(pieces(targets, most_stripes), side));
}

}  // namespace infonce_sizes

inline InfoNceMemory infonce_memory(int64_t queries, int64_t targets, int64_t columns, bool bf16_scores, bool on_cpu) {
  using namespace infonce_sizes;
  if (on_cpu) {
    const int64_t strip = std::min(queries, cpu_strip);
    return {bf16_scores ? 2 * columns * (targets + strip) : 0, 0, 4 * strip * targets};
  }
  const int64_t parts = bf16_scores ? 1 : 3;
  return {2 * parts * rounded_up(columns, chunk) * (queries + targets),
          queries * (pieces(targets, stripe(targets)) * state_bytes + 4),
          4 * std::min(queries, panel_side) * std::min(targets, panel_side)};
}

}  // namespace vlm2vec
