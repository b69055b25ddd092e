#include "mmeb/evaluation/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "io/files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

RankedNames row_of(const json& c) {
  RankedNames row{c.at("prediction"), c.at("label")};
  if (!c.at("rel_scores").is_null()) row.relevance = c.at("rel_scores").get<std::vector<double>>();
  return row;
}

// Every expected value within 1e-12; the number compared.
size_t compare(const Metrics& metrics, const json& expected, const std::string& what) {
  const std::map<std::string, double> ours(metrics.begin(), metrics.end());
  for (const auto& [key, value] : expected.items()) {
    if (!ours.contains(key)) ADD_FAILURE() << what << ": no " << key;
    else EXPECT_NEAR(ours.at(key), value.get<double>(), 1e-12) << what << " " << key;
  }
  return expected.size();
}

TEST(Metrics, GoldenRankings) {
  NEEDS_GOLDEN("mmeb/ranking");
  std::vector<RankedNames> rows;
  size_t compared = 0;
  for (const json& c : read_json(golden("mmeb/ranking/cases.json"))) {
    rows.push_back(row_of(c));
    compared += compare(ranking_metrics(rows.back()), c.at("metrics"), "case " + std::to_string(rows.size()));
  }
  EXPECT_EQ(compared, rows.size() * 24);
  compared = compare(ranking_metrics(rows), read_json(golden("mmeb/ranking/mean.json")), "mean");
  EXPECT_EQ(compared, 24u);
}

TEST(Metrics, GoldenGradedRelevance) {
  NEEDS_GOLDEN("mmeb/ranking");
  size_t compared = 0, cases = 0;
  for (const json& c : read_json(golden("mmeb/ranking/graded.json")))
    compared += compare(ranking_metrics(row_of(c)), c.at("ndcg"), "graded case " + std::to_string(++cases));
  EXPECT_GT(cases, 0u);
  EXPECT_EQ(compared, cases * 6);
}

// The score files of the official script have their keys in this order.
TEST(Metrics, keys_in_the_official_order) {
  const Metrics metrics = ranking_metrics(RankedNames{{"b", "a"}, {"a"}});
  std::string keys;
  for (const auto& [key, value] : metrics) keys += key + " ";
  EXPECT_EQ(keys,
            "hit@1 hit@5 hit@10 ndcg_linear@1 ndcg_linear@5 ndcg_linear@10 ndcg_exponential@1 ndcg_exponential@5 "
            "ndcg_exponential@10 precision@1 precision@5 precision@10 recall@1 recall@5 recall@10 f1@1 f1@5 f1@10 "
            "map@1 map@5 map@10 mrr@1 mrr@5 mrr@10 ");
}

}  // namespace
}  // namespace vlm2vec
