#include "mmeb/evaluator.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/model.h"
#include "mmeb/progress.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/io/files.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Numbers sides as they come; equal sides share a number.
class Distinct {
 public:
  explicit Distinct(const EvaluationData& data, std::string set) : data_(data), set_(std::move(set)) {}
  int32_t number(const Side& side, size_t row) {
    const auto [at, is_new] = numbers_.emplace(side, int32_t(inputs_.size()));
    if (is_new) {
      inputs_.push_back(encoder_input(side, data_.image_token, data_.image_dir));
      inputs_.back().row = sentence("row ", row + 1, " of ", set_);
    }
    return at->second;
  }
  const std::vector<EncoderInput>& inputs() const { return inputs_; }

 private:
  const EvaluationData& data_;
  const std::string set_;
  std::map<Side, int32_t> numbers_;
  std::vector<EncoderInput> inputs_;
};

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, "tasks.json does not know the set ", set, "; its meta-task and split are needed");
}

// Its rows can be read; are its pictures there?
void check_set(const std::string& name, const EvaluationData& data, PictureCheck& pictures) {
  const std::vector<EvalRow> rows = read_eval_rows(data.dataset / name / "test.jsonl");
  for (size_t i = 0; i < rows.size(); ++i) {
    pictures.add(rows[i].query.image, i, name);
    for (const Side& candidate : rows[i].candidates) pictures.add(candidate.image, i, name);
  }
}

SetScore evaluate_set(const std::string& name, const EvaluationData& data, const EmbedFunction& embed,
                      const fs::path& output) {
  const std::vector<EvalRow> rows = read_eval_rows(data.dataset / name / "test.jsonl");
  Distinct distinct(data, name);
  std::vector<int32_t> queries;
  std::vector<std::vector<int32_t>> candidates;
  SetScore score;
  score.name = name;
  for (size_t i = 0; i < rows.size(); ++i) {
    queries.push_back(distinct.number(rows[i].query, i));
    candidates.emplace_back();
    for (const Side& side : rows[i].candidates) candidates.back().push_back(distinct.number(side, i));
    score.chance += 100.0 / double(rows[i].candidates.size()) / double(rows.size());
  }
  const Ranking ranking = rank(embed(distinct.inputs(), name), queries, candidates);
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
  const int64_t rows = int64_t(candidates.size());
  Ranking ranking{std::vector<int32_t>(size_t(rows)), 0};
  std::vector<uint8_t> by_tie(static_cast<size_t>(rows));
  parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const std::vector<int32_t>& list = candidates[size_t(row)];
      int32_t best = 0, last_best = 0;
      float best_score = 0;
      for (size_t c = 0; c < list.size(); ++c) {
        const float score = float(simd().dot(d, e + queries[size_t(row)] * d, e + list[c] * d));
        if (c == 0 || score > best_score) best = last_best = int32_t(c), best_score = score;
        else if (score == best_score) last_best = int32_t(c);
      }
      ranking.best[size_t(row)] = best;
      by_tie[size_t(row)] = best == 0 && last_best != 0;
    }
  });
  for (const uint8_t tie : by_tie) ranking.ties += tie;
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
  return {mean("overall"),   mean("IND"),       mean("OOD"), mean("classification"), mean("vqa"), mean("retrieval"),
          mean("grounding"), std::move(scores), {}};
}

Summary chance_summary(const Summary& summary, const std::vector<Task>& tasks) {
  Summary chance = summarise(summary.sets, tasks, &SetScore::chance);
  for (SetScore& set : chance.sets) set.accuracy = set.chance, set.ties = 0;
  return chance;
}

Summary evaluate(const EvaluationData& data, const EmbedFunction& embed, const fs::path& output) {
  const std::vector<Task> tasks = read_tasks(data.dataset);
  const std::vector<std::string> names = list_subsets(data.dataset, "test.jsonl", data.subsets);
  PictureCheck pictures(data.image_dir);
  for (const std::string& name : names) task_of(name, tasks), check_set(name, data, pictures);
  pictures.require_all();  // before hours of embedding
  std::vector<SetScore> scores;
  if (!output.empty()) fs::create_directories(output);
  for (const std::string& name : names) scores.push_back(evaluate_set(name, data, embed, output));
  Summary summary = summarise(std::move(scores), tasks);
  summary.precision = data.precision;
  if (!output.empty()) write_text(output / "summary.json", summary_json(summary));
  return summary;
}

Summary evaluate(const EvalOptions& o, Device device, bool quiet) {
  const auto usage = [](bool ok, const char* sentence) {
    if (!ok) fail(Exit::usage, sentence);
  };
  usage(o.per_device_eval_batch_size > 0, "eval: --per_device_eval_batch_size must be positive");
  const auto encoder = load_model(o, device, quiet);
  const EvaluationData data{o.dataset_name, fs::path(o.image_dir.empty() ? o.dataset_name : o.image_dir), o.subset_name,
                            encoder->image_token(), o.precision};
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
