// Candidates in the order of their scores. Equal vectors have equal scores on every machine, and of equal scores the
// first candidate wins. MMEB's lists have the right one first, so this is the kindest rule for ties; how much of a
// score hangs on it is counted.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"
#include "tensor/tensor.h"

namespace vlm2vec {

// dot: the dot product, VLM2Vec V2's score. cosine: divided by both lengths, V1's; for unit vectors the same up to the
// last bits. In f32, sums in a fixed order.
enum class Score { dot, cosine };

// The scores of one query against some sides, all of them rows of `embeddings` [n, d].
class Scorer {
 public:
  Scorer(const Tensor& embeddings, Score score);
  std::vector<float> operator()(int32_t query, std::span<const int32_t> sides) const;

 private:
  Tensor embeddings_;
  std::vector<float> lengths_;  // for cosine; else empty
};

// The places of the best `most` scores (0: all), best first.
std::vector<int32_t> best_first(std::span<const float> scores, size_t most = 0);

// Whether a row is right if, among the candidates with the highest score, the first or the last wins, or if all of them
// have to be right.
struct TieOutcome {
  bool first = false, last = false, strict = false;
};
// scores, right: of the row's candidates, in their order; right: 1 for the positive and whatever counts as equal to it.
TieOutcome tie_outcome(std::span<const float> scores, std::span<const uint8_t> right);

// What one query's ranking shows. Candidate 0 is right.
struct RowResult {
  int32_t best = 0;                                        // the candidate with the highest score
  bool correct = false;                                    // best is right
  TieOutcome ties;                                         // whether it would be under other rules for equal scores
  bool tie() const { return ties.first && !ties.strict; }  // right only because the first of equal scores wins
};

// VLM2Vec V1's ranking: candidates are their sides. Of each row, with these queries (set.queries, or other wordings).
std::vector<RowResult> rank(const Tensor& embeddings, const EvaluationSet& set, const std::vector<int32_t>& queries,
                            Score score = Score::cosine);

}  // namespace vlm2vec
