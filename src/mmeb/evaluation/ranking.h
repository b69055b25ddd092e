// Ranks candidates by score. Equal vectors have equal scores on every machine; the first of equal scores wins. MMEB's
// lists begin with the right candidate, so this rule favours the model; rows that depend on it are counted.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"
#include "tensor/tensor.h"

namespace vlm2vec {

// dot: the dot product, VLM2Vec V2's score. cosine: the dot product divided by both lengths, V1's score; they differ
// only in the last bits for unit vectors. Sums are f32 in a fixed order.
enum class Score { dot, cosine };

// Computes the scores of one query against some sides; all are rows of `embeddings` [n, d].
class Scorer {
 public:
  Scorer(const Tensor& embeddings, Score score);
  std::vector<float> operator()(int32_t query, std::span<const int32_t> sides) const;

 private:
  Tensor embeddings_;
  std::vector<float> lengths_;  // for cosine; else empty
};

// Returns the places of the best `most` scores (0: all), best first.
std::vector<int32_t> best_first(std::span<const float> scores, size_t most = 0);

// Whether a row is right under three rules for candidates with equal highest scores: the first wins, the last wins, or
// all must be right.
struct TieOutcome {
  bool first = false, last = false, strict = false;
};
// scores, right: one per candidate of the row; `right` is 1 for the positive and for candidates equal to it.
TieOutcome tie_outcome(std::span<const float> scores, std::span<const uint8_t> right);

// The result of one query's ranking. Candidate 0 is right.
struct RowResult {
  int32_t best = 0;                                        // the candidate with the highest score
  bool correct = false;                                    // best is right
  TieOutcome ties;                                         // the same under the three rules for equal scores
  bool tie() const { return ties.first && !ties.strict; }  // right only because the first of equal scores wins
};

// VLM2Vec V1's ranking of each row; candidates are their sides. `queries` are set.queries, or other wordings.
std::vector<RowResult> rank(const Tensor& embeddings, const EvaluationSet& set, const std::vector<int32_t>& queries,
                            Score score = Score::cosine);

}  // namespace vlm2vec
