// The metrics of VLM2Vec V2's evaluation at k = 1, 5, 10, computed in f64 as its RankingMetrics does. With L the labels
// of a query, r_i the relevance of the name at rank i (1 for a label, or graded), H_k the labels among the first k:
//   hit        1 if H_k > 0                         ndcg_linear       DCG_k / ideal, DCG_k = Σ_{i≤k} r_i / log2(i + 1)
//   precision  H_k / k                              ndcg_exponential  the same of 2^{r_i} − 1
//   recall     H_k / |L|, 1 without labels          map               Σ_{i≤k, hit} (hits up to i) / i / min(|L|, k)
//   f1         their harmonic mean                  mrr               1 / rank of the first hit within k, else 0
// A name that a ranking repeats counts once in precision, recall and hit, but each time in map and nDCG. These can then
// exceed 1, as in the official files whose candidates repeat the right one.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace vlm2vec {

// Metrics ignore lower ranks.
constexpr size_t kLastRank = 10;

struct RankedNames {
  std::vector<std::string> prediction;  // best first, at least kLastRank names
  std::vector<std::string> label;       // the right names
  std::vector<double> relevance = {};   // per label; empty: 1 each
};

// The official keys in the official order: hit@1, hit@5, hit@10, ndcg_linear@1, …, mrr@10.
using Metrics = std::vector<std::pair<std::string, double>>;
Metrics ranking_metrics(const RankedNames& row);
Metrics ranking_metrics(const std::vector<RankedNames>& rows);  // the means over rows

}  // namespace vlm2vec
