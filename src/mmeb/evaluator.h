// Precision@1 as MMEB measures it: every row's query against the row's own candidates, of which the first is right.
// Each distinct input of a set is embedded once. The highest score wins, the first among equals.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "mmeb/dataset.h"
#include "mmeb/options.h"

namespace vlm2vec {

// The winner of each row, and how many rows are right only because the first among equal scores wins.
struct Ranking {
  std::vector<int32_t> best;
  int64_t ties = 0;
};
// embeddings [n, d], of which row i's query is queries[i] and its candidates are candidates[i]. Scores are dot products
// in f32 with sums in a fixed order, so equal vectors tie exactly.
Ranking rank(const Tensor& embeddings, const std::vector<int32_t>& queries,
             const std::vector<std::vector<int32_t>>& candidates);

struct SetScore {
  std::string name;
  double accuracy = 0, chance = 0;  // percent; chance: the mean of 1 / candidates
  int64_t correct = 0, rows = 0, ties = 0;
};

// Means over data sets, percent; −1 where no set belongs to the group.
struct Summary {
  double overall = -1, ind = -1, ood = -1, classification = -1, vqa = -1, retrieval = -1, grounding = -1;
  std::vector<SetScore> sets;     // in the order of the task table
  std::string precision = "f32";  // of the products that made the embeddings
};
Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks,
                  double SetScore::*value = &SetScore::accuracy);

// Embeds the distinct inputs of a set → [n, d]; what the evaluator needs of a model.
using EmbedFunction = std::function<Tensor(const std::vector<EncoderInput>& inputs, const std::string& set)>;

struct EvaluationData {
  std::filesystem::path dataset;
  Pictures image_dir;
  std::vector<std::string> subsets;  // empty: all
  std::string image_token, precision = "f32";
};
// Evaluates every set; writes {set}_score.json, {set}_pred.jsonl and summary.json to `output` unless that is empty.
Summary evaluate(const EvaluationData& data, const EmbedFunction& embed, const std::filesystem::path& output);

// The `eval` command: loads the model, evaluates, reports progress on stderr.
Summary evaluate(const EvalOptions& options, Device device, bool quiet);

// A table like the paper's: a row per group and data set; several summaries side by side under their titles.
std::string score_table(const std::vector<std::pair<std::string, Summary>>& columns, const std::vector<Task>& tasks);
std::string summary_json(const Summary& summary);  // the content of summary.json
Summary read_summary(const std::filesystem::path& folder, const std::vector<Task>& tasks);  // of an earlier evaluation
Summary chance_summary(const Summary& summary, const std::vector<Task>& tasks);

}  // namespace vlm2vec
