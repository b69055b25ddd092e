#include "show/nearest_rows.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"
#include "tensor/ops.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

constexpr int64_t kScores = 1 << 24;  // scores per block: 64 MB

bool is_better(const Hit& a, const Hit& b) { return a.score != b.score ? a.score > b.score : a.row < b.row; }

}  // namespace

std::vector<std::vector<Hit>> nearest_rows(const Tensor& queries, const Tensor& index, int64_t top) {
  CHECK(queries.columns() == index.columns() && top > 0, "nearest_rows: queries are ", queries, ", the index is ",
        index, ", top is ", top);
  std::vector<std::vector<Hit>> hits(size_t(queries.rows()));
  const int64_t block = std::max<int64_t>(1, kScores / queries.rows());
  for (int64_t first = 0; first < index.rows(); first += block) {
    const Tensor part = index.rows(first, std::min(first + block, index.rows()));
    const Tensor scores = matmul(queries, part, false, true);  // [q, block]
    parallel_each(hits.size(), [&](size_t query) {
      std::vector<Hit>& best = hits[query];  // a heap with the worst hit in front
      const float* row = scores.data<float>() + int64_t(query) * part.rows();
      for (int64_t i = 0; i < part.rows(); ++i) {
        if (std::isnan(row[i])) fail(Exit::data, "row ", first + i + 1, " has no score: its vector is not finite");
        const Hit hit{first + i, row[i]};
        if (int64_t(best.size()) == top) {
          if (!is_better(hit, best.front())) continue;
          std::pop_heap(best.begin(), best.end(), is_better);
          best.pop_back();
        }
        best.push_back(hit);
        std::push_heap(best.begin(), best.end(), is_better);
      }
    });
  }
  for (auto& best : hits) std::sort_heap(best.begin(), best.end(), is_better);
  return hits;
}

}  // namespace vlm2vec
