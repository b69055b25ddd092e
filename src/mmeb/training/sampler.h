// Which rows a training step sees. The order follows from the seed alone: a resumed run replays it up to its step.
//   shuffled     VLM2Vec V1: all sets as one list of rows, a seeded uniform permutation of it for each epoch; the last
//                batch of an epoch may be short.
//   interleaved  VLM2Vec V2: a set is drawn by weight and gives a block of its next rows, in the file's order.
//   balanced     Each place of a batch draws a set uniformly, then that set's next row; every set is reshuffled when it
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

using Sampler = std::function<std::vector<RowId>()>;  // gives the rows of the next step, at least one

Sampler shuffled_sampler(const std::vector<int64_t>& set_sizes, int64_t batch_size, uint64_t seed);
Sampler balanced_sampler(const std::vector<int64_t>& set_sizes, int64_t batch_size, uint64_t seed);

// Sets are drawn with NumPy's default_rng(seed).choice(p = weights / their sum). What has given its last row is spent:
// further draws of it are skipped (so does the official code through the datasets library: a pass gives every row
// once). The pass ends when all sets are spent (or with `first_exhausted` the first); rows that fill no batch are
// dropped, and the next pass is the same as the first.
// With several ranks the official code splits by whole shards where it can, so that a rank's block grows with the
// number of ranks, and with several loader processes, so do runs of one set over batches. What is stated is done here:
// `block` rows of one set on each device.
struct Interleaving {
  std::vector<double> weights;
  int64_t block = 1;
  bool first_exhausted = false;
};
Sampler interleaved_sampler(const std::vector<int64_t>& set_sizes, const Interleaving& interleaving, int64_t batch_size,
                            uint64_t seed);

}  // namespace vlm2vec
