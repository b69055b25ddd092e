// Candidates in the order of their scores. Equal vectors have equal scores on every machine, and of equal scores the
// first index wins: this is all there is to a tie.
#pragma once
#include <cstdint>
#include <vector>

#include "mmeb/evaluation/ties.h"
#include "tensor/tensor.h"

namespace vlm2vec {

// What one query's ranking shows. Candidate 0 is right; in a pool, several are.
struct RowResult {
  int32_t best = 0;                                        // the candidate with the highest score
  int32_t rank = 1;                                        // of the right candidate that comes first, from 1
  int32_t candidates = 0;                                  // how many there were
  bool correct = false;                                    // best is right
  TieOutcome ties;                                         // whether it would be under other rules for equal scores
  bool tie() const { return ties.first && !ties.strict; }  // right only because the first of equal scores wins
};

// dot: the dot product, VLM2Vec V2's score. cosine: divided by both lengths, V1's; for unit vectors the same up to the
// last bits. In f32, sums in a fixed order.
enum class Score { dot, cosine };

// embeddings [n, d], of which row i's query is queries[i] and its candidates are candidates[i].
std::vector<RowResult> rank(const Tensor& embeddings, const std::vector<int32_t>& queries,
                            const std::vector<std::vector<int32_t>>& candidates, Score score = Score::cosine);

// The places in candidates[i] of the best `most` (0: all), best first, for each row i.
std::vector<std::vector<int32_t>> rank_lists(const Tensor& embeddings, const std::vector<int32_t>& queries,
                                             const std::vector<std::vector<int32_t>>& candidates, Score score,
                                             size_t most = 0);

}  // namespace vlm2vec
