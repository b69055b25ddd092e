#include "mmeb/evaluation/evaluator.h"

#include <algorithm>
#include <map>

#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/evaluation_files.h"
#include "mmeb/model.h"
#include "mmeb/progress.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, set,
       ": this set is neither in tasks.json nor one of MMEB's 36; write its meta-task and split there");
}

SetScore evaluate_set(const std::string& name, const EvaluationData& data, const EmbedFunction& embed,
                      const fs::path& output) {
  std::vector<EvalRow> rows = read_eval_rows(data.dataset / name / "test.jsonl");
  DistinctInputs distinct(data, name);
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
  Tensor embeddings = embed(distinct.inputs(), name);
  const EvaluatedSet set =
      rank_set(name, std::move(rows), distinct.sides(), std::move(embeddings), queries, candidates);
  score.rows = int64_t(set.rows.size());
  for (const RowResult& result : set.results) score.correct += result.correct, score.ties += result.tie;
  score.accuracy = 100.0 * double(score.correct) / double(score.rows);
  score.results = set.results;
  if (!output.empty()) write_set_files(output, set, data.save_embeddings);
  return score;
}

}  // namespace

Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks, double SetScore::*value) {
  std::map<std::string, std::pair<double, int>> groups;  // sum and number of sets
  for (SetScore& score : scores) {
    const Task& task = score.task = task_of(score.name, tasks);
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
  for (const std::string& name : names) task_of(name, tasks);  // before hours of embedding: all sets are known, …
  PictureCheck pictures(data.image_dir);
  for (const std::string& name : names)  // … can be read, and have their pictures
    check_set(name, read_eval_rows(data.dataset / name / "test.jsonl"), pictures);
  pictures.require_all();
  std::vector<SetScore> scores;
  if (!output.empty()) fs::create_directories(output);
  for (const std::string& name : names) scores.push_back(evaluate_set(name, data, embed, output));
  Summary summary = summarise(std::move(scores), tasks);
  summary.precision = data.precision;
  if (!output.empty()) write_text(output / "summary.json", summary_json(summary));
  return summary;
}

Summary evaluate(const EvalOptions& o, Device device, bool quiet) {
  const auto encoder = load_model(o, device, quiet);
  const auto cache = open_embedding_cache(o.embedding_cache, o, device, *encoder);
  const EvaluationData data{o.dataset_name, fs::path(o.image_dir.empty() ? o.dataset_name : o.image_dir),
                            o.subset_name,  encoder->image_token(),
                            o.precision,    o.save_embeddings};
  Progress progress("eval", int64_t(list_subsets(data.dataset, "test.jsonl", data.subsets).size()), quiet);
  int64_t sets = 0;
  const auto embed_set = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const auto update = [&](int64_t done) { progress.update(sets, sentence(name, " ", done, "/", inputs.size())); };
    const Tensor embeddings = embed(*encoder, inputs, o.per_device_eval_batch_size, update, cache.get());
    progress.update(++sets, name);
    return embeddings;
  };
  const Summary summary = evaluate(data, embed_set, o.encode_output_path);
  progress.note(encoder->flaw_note());
  if (cache) progress.note(cache->note());
  return summary;
}

}  // namespace vlm2vec
