// The files of an evaluated set, against those of the official evaluations on the same vectors.
#include "mmeb/evaluation/evaluation_files.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "golden.h"
#include "io/files.h"
#include "lines_of_json.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A golden set and its golden vectors, of which a side that is a query and a target has two.
std::pair<EvaluationSet, Tensor> golden_set(const std::string& name, const NamedTensors& vectors, const json& index) {
  EvaluationSet set;
  set.name = name;
  std::map<Side, int32_t> query_numbers, target_numbers;
  std::vector<float> values;
  for (const bool targets : {false, true}) {
    const std::string part = targets ? "tgt" : "qry";
    for (const json& pair : index.at(name).at(part)) {
      set.sides.emplace_back(pair.at(0).get<std::string>(), pair.at(1).get<std::string>());
      (targets ? target_numbers : query_numbers)[set.sides.back()] = int32_t(set.sides.size() - 1);
    }
    const Tensor& e = vectors.at(name + "/" + part);
    values.insert(values.end(), e.data<float>(), e.data<float>() + e.numel());
  }
  for (const EvalRow& row : read_eval_rows(golden("mmeb/MMEB-eval") / name / "test.jsonl")) {
    set.queries.push_back(query_numbers.at(row.query));
    std::vector<int32_t> list;
    for (size_t i = 0; i < row.candidates.size(); ++i) {
      list.push_back(int32_t(set.candidates.size()));
      set.candidates.push_back({target_numbers.at(row.candidates[i]), row.names[i]});
    }
    set.lists.emplace_back(std::move(list));
  }
  const int64_t n = int64_t(set.sides.size());
  return {std::move(set), from_vector(values, {n, int64_t(values.size()) / n})};
}

std::vector<int32_t> winners(const std::vector<RowResult>& results) {
  std::vector<int32_t> best;
  for (const RowResult& result : results) best.push_back(result.best);
  return best;
}

// Integer vectors: every dot product is exact, so ties are real. Unit vectors of normal numbers ("gauss"): the official
// winner may be a later copy of the same vector (its matrix product gives copies different last bits); ours is the
// first.
TEST(EvaluationFiles, GoldenScoresAndPredictions) {
  NEEDS_GOLDEN("mmeb/scores");
  const TemporaryFolder folder("scores");
  size_t sets = 0, compared = 0;
  for (const std::string kind : {"integer", "gauss"}) {
    const fs::path from = golden("mmeb/scores") / kind;
    const NamedTensors vectors = load_safetensors(from / "embeddings.safetensors");
    const json index = read_json(from / "index.json"), scores = read_json(from / "scores.json");
    const std::string expected = kind == "integer" ? "pred" : "pred_first_of_equal_vectors";
    for (const auto& [name, golden_score] : scores.items()) {
      SCOPED_TRACE(kind + " " + name);
      const auto [set, embeddings] = golden_set(name, vectors, index);
      const auto by_dot = rank(embeddings, set, set.queries, Score::dot);
      const auto results = rank(embeddings, set, set.queries);
      EXPECT_EQ(winners(by_dot), golden_score.at("v1").at(expected).get<std::vector<int32_t>>());
      EXPECT_EQ(winners(results), golden_score.at("v1_normalize").at(expected).get<std::vector<int32_t>>());

      const json score = json::parse(write_set_files(folder.path(), set, embeddings, results, false).dump());
      EXPECT_EQ(read_text(folder / (name + "_pred.txt")), read_text(from / (name + "_pred.txt")));
      EXPECT_EQ(lines_of_json(folder / (name + "_pred.jsonl")), lines_of_json(from / (name + "_pred.jsonl")));
      for (const auto& [key, value] : golden_score.at("v2_stable_argsort").items()) {
        EXPECT_NEAR(score.at(key).get<double>(), value.get<double>(), 1e-12) << key;
        ++compared;
      }
      const json& v1 = golden_score.at("v1_normalize");
      EXPECT_EQ(score.at("acc"), v1.at(kind == "integer" ? "acc" : "acc_first_of_equal_vectors"));
      ++sets;
    }
  }
  EXPECT_GE(sets, 2u);
  EXPECT_EQ(compared, sets * 26);
}

TEST(EvaluationFiles, info_and_vectors) {
  const TemporaryFolder folder("files");
  EvaluationSet set;
  set.name = "S";
  set.add({{"q", "q.png"}, {{"b", ""}, {"a", ""}, {"b", ""}, {"c", ""}}, {"b", "a", "b", "c"}});
  set.add({{"a", ""}, {{"a", ""}}, {"a"}});
  const Tensor embeddings = from_vector<float>({1, 0, 1, 0, 0, 1, 1, 0}, {4, 2});  // of q, b, a, c
  const auto results = rank(embeddings, set, set.queries);
  // b and its duplicate are both right, c ties with them
  EXPECT_TRUE(results[0].correct && results[0].tie() && !results[1].tie());
  const auto score = write_set_files(folder.path(), set, embeddings, results, true);
  const auto info = lines_of_json(folder / "S_info.jsonl"), targets = lines_of_json(folder / "S_tgt_ids.jsonl");
  EXPECT_EQ(info.at(0), json::parse(R"({"cand_names": ["b", "a", "b", "c"], "label_name": "b"})"));
  EXPECT_EQ(lines_of_json(folder / "S_qry_ids.jsonl").at(0), json::parse(R"({"text": "q", "img_path": "q.png"})"));
  ASSERT_EQ(targets.size(), 3u);
  EXPECT_EQ(targets[0].at("text"), "b");
  const std::string npy = read_text(folder / "S_tgt.npy");
  EXPECT_NE(npy.find("'shape': (3, 2)"), npy.npos);
  float stored[6];
  std::memcpy(stored, npy.data() + npy.size() - sizeof stored, sizeof stored);
  EXPECT_EQ(std::vector<float>(stored, stored + 6), (std::vector<float>{1, 0, 0, 1, 1, 0}));
  EXPECT_EQ(score.at("num_ties"), 1);
}

// What Python 3's repr prints.
TEST(EvaluationFiles, python_literals) {
  EXPECT_EQ(python_literal("a\nb\t\\"), R"('a\nb\t\\')");
  EXPECT_EQ(python_literal("it's"), R"("it's")");
  EXPECT_EQ(python_literal(R"("it's")"), R"('"it\'s"')");
  EXPECT_EQ(python_literal("é 图 👩"), "'é 图 👩'");
  EXPECT_EQ(python_literal("\x01\x7f\u00a0\u200b\u2028\U000e0001"), R"('\x01\x7f\xa0\u200b\u2028\U000e0001')");
}

}  // namespace
}  // namespace vlm2vec
