#include "mmeb/evaluator.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/progress.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Numbers sides as they come; equal sides share a number.
class Distinct {
 public:
  int32_t number(const Side& side) {
    const auto [at, is_new] = numbers_.emplace(side, int32_t(sides_.size()));
    if (is_new) sides_.push_back(side);
    return at->second;
  }
  std::vector<EncoderInput> inputs(const EvaluationData& data) const {
    std::vector<EncoderInput> inputs;
    for (const Side& side : sides_) inputs.push_back(encoder_input(side, data.image_token, data.image_dir));
    return inputs;
  }

 private:
  std::map<Side, int32_t> numbers_;
  std::vector<Side> sides_;
};

float dot(const float* a, const float* b, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, "tasks.json does not know the set ", set, "; its meta-task and split are needed");
}

SetScore evaluate_set(const std::string& name, const EvaluationData& data, const EmbedFunction& embed,
                      const fs::path& output) {
  const std::vector<EvalRow> rows = read_eval_rows(data.dataset / name / "test.jsonl");
  Distinct distinct;
  std::vector<int32_t> queries;
  std::vector<std::vector<int32_t>> candidates;
  SetScore score;
  score.name = name;
  for (const EvalRow& row : rows) {
    queries.push_back(distinct.number(row.query));
    candidates.emplace_back();
    for (const Side& side : row.candidates) candidates.back().push_back(distinct.number(side));
    score.chance += 100.0 / double(row.candidates.size()) / double(rows.size());
  }
  const Ranking ranking = rank(embed(distinct.inputs(data), name), queries, candidates);
  score.rows = int64_t(rows.size());
  score.ties = ranking.ties;
  for (const int32_t best : ranking.best) score.correct += best == 0;
  score.accuracy = 100.0 * double(score.correct) / double(score.rows);
  if (output.empty()) return score;
  write_text(output / (name + "_score.json"), Json{{"acc", score.accuracy / 100},
                                                   {"num_correct", score.correct},
                                                   {"num_pred", score.rows},
                                                   {"num_ties", score.ties}}
                                                      .dump() +
                                                  "\n");
  write_atomically(output / (name + "_pred.jsonl"), [&](std::ostream& out) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const Side& predicted = rows[i].candidates[size_t(ranking.best[i])];
      out << Json{{"row", i}, {"prediction", ranking.best[i]}, {"text", predicted.text}, {"image", predicted.image}}
                 .dump()
          << "\n";
    }
  });
  return score;
}

}  // namespace

Ranking rank(const Tensor& embeddings, const std::vector<int32_t>& queries,
             const std::vector<std::vector<int32_t>>& candidates) {
  const int64_t d = embeddings.columns();
  const float* e = embeddings.data<float>();
  Ranking ranking;
  for (size_t row = 0; row < candidates.size(); ++row) {
    int32_t best = 0, last_best = 0;
    float best_score = 0;
    for (size_t c = 0; c < candidates[row].size(); ++c) {
      const float score = dot(e + queries[row] * d, e + candidates[row][c] * d, d);
      if (c == 0 || score > best_score) best = last_best = int32_t(c), best_score = score;
      else if (score == best_score) last_best = int32_t(c);
    }
    ranking.best.push_back(best);
    ranking.ties += best == 0 && last_best != 0;
  }
  return ranking;
}

Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks, double SetScore::*value) {
  std::map<std::string, std::pair<double, int>> groups;  // sum and number of sets
  for (const SetScore& score : scores) {
    const Task& task = task_of(score.name, tasks);
    if (task.optional) continue;
    for (const std::string& group : {std::string("overall"), task.split, task.meta_task}) {
      groups[group].first += score.*value;
      ++groups[group].second;
    }
  }
  const auto mean = [&](const char* group) {
    return groups.contains(group) ? groups[group].first / groups[group].second : -1.0;
  };
  std::sort(scores.begin(), scores.end(),
            [&](const SetScore& a, const SetScore& b) { return &task_of(a.name, tasks) < &task_of(b.name, tasks); });
  return {mean("overall"), mean("IND"),       mean("OOD"),       mean("classification"),
          mean("vqa"),     mean("retrieval"), mean("grounding"), std::move(scores)};
}

Summary chance_summary(const Summary& summary, const std::vector<Task>& tasks) {
  Summary chance = summarise(summary.sets, tasks, &SetScore::chance);
  for (SetScore& set : chance.sets) set.accuracy = set.chance;
  return chance;
}

Summary evaluate(const EvaluationData& data, const EmbedFunction& embed, const fs::path& output) {
  const std::vector<Task> tasks = read_tasks(data.dataset);
  const std::vector<std::string> names = list_subsets(data.dataset, "test.jsonl", data.subsets);
  for (const std::string& name : names) task_of(name, tasks);  // before hours of embedding
  std::vector<SetScore> scores;
  if (!output.empty()) fs::create_directories(output);
  for (const std::string& name : names) scores.push_back(evaluate_set(name, data, embed, output));
  const Summary summary = summarise(std::move(scores), tasks);
  if (!output.empty()) write_text(output / "summary.json", summary_json(summary));
  return summary;
}

Summary evaluate(const EvalOptions& o, Device device, bool quiet) {
  const auto usage = [](bool ok, const char* sentence) {
    if (!ok) fail(Exit::usage, sentence);
  };
  usage(!o.model_name.empty(), "eval: --model_name is missing: the folder of the checkpoint");
  usage(!o.dataset_name.empty(), "eval: --dataset_name is missing: the folder of test sets");
  usage(!o.encode_output_path.empty(), "eval: --encode_output_path is missing: where scores and predictions go");
  usage(o.per_device_eval_batch_size > 0, "eval: --per_device_eval_batch_size must be positive");
  const auto encoder = load_encoder(o.model_name, {.device = device,
                                                   .min_pixels = o.resize_min_pixels,
                                                   .max_pixels = o.resize_max_pixels,
                                                   .image_resolution = o.image_resolution});
  if (!o.adapter.empty()) {
    load_adapter(*encoder, o.adapter, !o.use_dora, nullptr, DType::f32, device, encoder->notes);
  }
  if (!quiet)
    for (const std::string& note : encoder->notes) std::fprintf(stderr, "%s\n", note.c_str());
  const EvaluationData data{o.dataset_name, o.image_dir.empty() ? o.dataset_name : o.image_dir, o.subset_name,
                            encoder->image_token()};
  Progress progress("eval", int64_t(list_subsets(data.dataset, "test.jsonl", data.subsets).size()), quiet);
  int64_t sets = 0;
  const auto embed_set = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const Tensor embeddings = embed(*encoder, inputs, o.per_device_eval_batch_size, [&](int64_t done) {
      progress.update(sets, sentence(name, " ", done, "/", inputs.size()));
    });
    progress.update(++sets, name);
    return embeddings;
  };
  const Summary summary = evaluate(data, embed_set, o.encode_output_path);
  progress.note(encoder->flaw_note());
  return summary;
}

}  // namespace vlm2vec
