#include "mmeb/evaluation/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

namespace vlm2vec {
namespace {

constexpr size_t kCutoffs[] = {1, 5, 10};

// All metrics at one k.
struct AtK {
  double hit = 0, ndcg_linear = 0, ndcg_exponential = 0, precision = 0, recall = 0, f1 = 0, map = 0, mrr = 0;
};

double discounted_gain(const std::vector<double>& gains, bool exponential) {
  double sum = 0;
  for (size_t i = 0; i < gains.size(); ++i)
    sum += (exponential ? std::exp2(gains[i]) - 1 : gains[i]) / std::log2(double(i + 2));
  return sum;
}

AtK at_k(const RankedNames& row, size_t k) {
  std::map<std::string, double> relevance;
  for (size_t i = 0; i < row.label.size(); ++i)
    relevance[row.label[i]] = row.relevance.empty() ? 1 : row.relevance.at(i);
  const size_t shown = std::min(k, row.prediction.size());
  std::vector<double> gains, ideal;
  std::set<std::string> found;
  double hits = 0;
  AtK at;
  for (size_t i = 0; i < shown; ++i) {
    const auto label = relevance.find(row.prediction[i]);
    gains.push_back(label == relevance.end() ? 0 : label->second);
    if (label == relevance.end()) continue;
    found.insert(label->first);
    at.map += ++hits / double(i + 1);
    if (hits == 1) at.mrr = 1 / double(i + 1);
  }
  for (const auto& [name, gain] : relevance) ideal.push_back(gain);
  std::sort(ideal.begin(), ideal.end(), std::greater<>());
  ideal.resize(std::min(ideal.size(), k));
  const double labels = double(relevance.size()), right = double(found.size());
  const auto ndcg = [&](bool exponential) {
    const double best = discounted_gain(ideal, exponential);
    return best > 0 ? discounted_gain(gains, exponential) / best : 0;
  };
  at.hit = right > 0;
  at.ndcg_linear = ndcg(false);
  at.ndcg_exponential = ndcg(true);
  at.precision = right / double(k);
  at.recall = relevance.empty() ? 1 : right / labels;
  at.f1 = right > 0 ? 2 * at.precision * at.recall / (at.precision + at.recall) : 0;
  if (!relevance.empty()) at.map /= std::min(labels, double(k));
  return at;
}

}  // namespace

Metrics ranking_metrics(const RankedNames& row) {
  std::vector<AtK> at;
  for (const size_t k : kCutoffs) at.push_back(at_k(row, k));
  Metrics metrics;
  const auto add = [&](const std::string& name, double AtK::*value) {
    for (size_t i = 0; i < at.size(); ++i) metrics.emplace_back(name + "@" + std::to_string(kCutoffs[i]), at[i].*value);
  };
  add("hit", &AtK::hit);
  add("ndcg_linear", &AtK::ndcg_linear);
  add("ndcg_exponential", &AtK::ndcg_exponential);
  add("precision", &AtK::precision);
  add("recall", &AtK::recall);
  add("f1", &AtK::f1);
  add("map", &AtK::map);
  add("mrr", &AtK::mrr);
  return metrics;
}

Metrics ranking_metrics(const std::vector<RankedNames>& rows) {
  Metrics means;
  for (const RankedNames& row : rows) {
    const Metrics metrics = ranking_metrics(row);
    if (means.empty()) means = metrics;
    else
      for (size_t i = 0; i < means.size(); ++i) means[i].second += metrics[i].second;
  }
  for (auto& [name, value] : means) value /= double(rows.size());
  return means;
}

}  // namespace vlm2vec
