#include "mmeb/evaluation/ranking.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

// The scores of one query against its candidates.
class Scorer {
 public:
  Scorer(const Tensor& embeddings, Score score)
      : d_(embeddings.columns()), e_(embeddings.data<float>()), cosine_(score == Score::cosine) {
    if (!cosine_) return;
    for (int64_t i = 0; i < embeddings.rows(); ++i)
      lengths_.push_back(std::sqrt(float(simd().dot(d_, e_ + i * d_, e_ + i * d_))));
  }
  std::vector<float> operator()(int32_t query, const std::vector<int32_t>& candidates) const {
    std::vector<float> scores;
    scores.reserve(candidates.size());
    for (const int32_t c : candidates) {
      const float dot = float(simd().dot(d_, e_ + query * d_, e_ + c * d_));
      scores.push_back(cosine_ ? dot / (lengths_[size_t(c)] * lengths_[size_t(query)]) : dot);
    }
    return scores;
  }

 private:
  int64_t d_;
  const float* e_;
  bool cosine_;
  std::vector<float> lengths_;
};

}  // namespace

std::vector<RowResult> rank(const Tensor& embeddings, const std::vector<int32_t>& queries,
                            const std::vector<std::vector<int32_t>>& candidates, Score score) {
  const Scorer scorer(embeddings, score);
  std::vector<RowResult> results(candidates.size());
  parallel_for(int64_t(results.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const std::vector<float> scores = scorer(queries[size_t(row)], candidates[size_t(row)]);
      const auto best = std::max_element(scores.begin(), scores.end());  // the first of equals
      RowResult& result = results[size_t(row)];
      result.best = int32_t(best - scores.begin());
      result.candidates = int32_t(scores.size());
      result.correct = result.best == 0;
      std::vector<uint8_t> right(scores.size());  // the positive wherever it stands
      for (size_t c = 0; c < right.size(); ++c) right[c] = candidates[size_t(row)][c] == candidates[size_t(row)][0];
      result.ties = tie_outcome(scores, right);
      result.rank = 1 + int32_t(std::count_if(scores.begin(), scores.end(), [&](float s) { return s > scores[0]; }));
    }
  });
  return results;
}

std::vector<std::vector<int32_t>> rank_lists(const Tensor& embeddings, const std::vector<int32_t>& queries,
                                             const std::vector<std::vector<int32_t>>& candidates, Score score,
                                             size_t most) {
  const Scorer scorer(embeddings, score);
  std::vector<std::vector<int32_t>> lists(candidates.size());
  parallel_for(int64_t(lists.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const std::vector<float> scores = scorer(queries[size_t(row)], candidates[size_t(row)]);
      std::vector<int32_t>& list = lists[size_t(row)];
      list.resize(scores.size());
      std::iota(list.begin(), list.end(), 0);
      const size_t kept = most > 0 ? std::min(most, list.size()) : list.size();
      std::partial_sort(list.begin(), list.begin() + int64_t(kept), list.end(), [&](int32_t a, int32_t b) {
        const float x = scores[size_t(a)], y = scores[size_t(b)];
        return x != y ? x > y : a < b;
      });
      list.resize(kept);
    }
  });
  return lists;
}

}  // namespace vlm2vec
