// Chooses the rows of each training step. The order depends on the seed alone: a resumed run replays it up to its step.
//   shuffled     VLM2Vec V1: one list of the rows of all sets, in a new random order for each epoch; the last batch of
//                an epoch may be short.
//   interleaved  VLM2Vec V2: draws a set by weight and takes a block of its next rows, in the file's order.
//   balanced     For each place of a batch, draws a set uniformly and takes its next row; a set is reshuffled when it
//                is used up.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace vlm2vec {

struct RowId {
  int32_t set, row;
  auto operator<=>(const RowId&) const = default;
};

using Sampler = std::function<std::vector<RowId>()>;  // returns the rows of the next batch, at least one

Sampler shuffled_sampler(const std::vector<int64_t>& set_sizes, int64_t batch_size, uint64_t seed);
Sampler balanced_sampler(const std::vector<int64_t>& set_sizes, int64_t batch_size, uint64_t seed);

// Draws sets with NumPy's default_rng(seed).choice(p = weights / their sum). A set without further rows is spent, and
// draws of it are skipped. A pass thus gives every row once, as in the official code through the datasets library. The
// pass ends when all sets are spent, or with `first_exhausted` when one is. Rows that do not fill a batch are dropped;
// all passes are the same.
// The official code splits by whole shards if it can. A rank's block then grows with the number of ranks, and with
// several loader processes one set extends over several batches. Here each device gets `block` rows of one set.
struct Interleaving {
  std::vector<double> weights;
  int64_t block = 1;
  bool first_exhausted = false;
};
Sampler interleaved_sampler(const std::vector<int64_t>& set_sizes, const Interleaving& interleaving, int64_t batch_size,
                            uint64_t seed);

}  // namespace vlm2vec
