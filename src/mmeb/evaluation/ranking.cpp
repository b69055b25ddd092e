#include "mmeb/evaluation/ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/error.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"

namespace vlm2vec {

Scorer::Scorer(const Tensor& embeddings, Score score) : embeddings_(embeddings) {
  const int64_t d = embeddings.columns();
  const float* e = embeddings.data<float>();
  if (score == Score::cosine)
    for (int64_t i = 0; i < embeddings.rows(); ++i)
      lengths_.push_back(std::sqrt(float(simd().dot(d, e + i * d, e + i * d))));
}

std::vector<float> Scorer::operator()(int32_t query, std::span<const int32_t> sides) const {
  const int64_t d = embeddings_.columns();
  const float* e = embeddings_.data<float>();
  std::vector<float> scores;
  scores.reserve(sides.size());
  for (const int32_t side : sides) {
    const float dot = float(simd().dot(d, e + query * d, e + side * d));
    scores.push_back(lengths_.empty() ? dot : dot / (lengths_[size_t(side)] * lengths_[size_t(query)]));
  }
  return scores;
}

std::vector<int32_t> best_first(std::span<const float> scores, size_t most) {
  std::vector<int32_t> places(scores.size());
  std::iota(places.begin(), places.end(), 0);
  const size_t kept = most > 0 ? std::min(most, places.size()) : places.size();
  std::partial_sort(places.begin(), places.begin() + int64_t(kept), places.end(), [&](int32_t a, int32_t b) {
    const float x = scores[size_t(a)], y = scores[size_t(b)];
    return x != y ? x > y : a < b;
  });
  places.resize(kept);
  return places;
}

TieOutcome tie_outcome(std::span<const float> scores, std::span<const uint8_t> right) {
  CHECK(!scores.empty() && scores.size() == right.size(), "ties: ", scores.size(), " scores of ", right.size(),
        " candidates");
  const float best = *std::max_element(scores.begin(), scores.end());
  TieOutcome outcome{false, false, true};
  bool seen = false;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != best) continue;
    if (!seen) outcome.first = right[i];
    seen = true;
    outcome.last = right[i];
    outcome.strict &= right[i] != 0;
  }
  return outcome;
}

std::vector<RowResult> rank(const Tensor& embeddings, const EvaluationSet& set, const std::vector<int32_t>& queries,
                            Score score) {
  const Scorer scorer(embeddings, score);
  std::vector<RowResult> results(set.lists.size());
  parallel_each(results.size(), [&](size_t row) {
    std::vector<int32_t> sides = set.lists[row].numbers();
    for (int32_t& number : sides) number = set.candidates[size_t(number)].side;
    std::vector<uint8_t> right;  // the positive, wherever it is in the list
    for (const int32_t side : sides) right.push_back(side == sides[0]);
    const std::vector<float> scores = scorer(queries[row], sides);
    RowResult& result = results[row];
    result.best = int32_t(std::max_element(scores.begin(), scores.end()) - scores.begin());  // the first of equals
    result.correct = result.best == 0;
    result.ties = tie_outcome(scores, right);
  });
  return results;
}

}  // namespace vlm2vec
