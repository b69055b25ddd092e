#include "mmeb/evaluation/evaluator.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/data/dataset_config.h"
#include "mmeb/evaluation/candidate_lists.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/evaluation_files.h"
#include "mmeb/model.h"
#include "mmeb/progress.h"
#include "mmeb/registry/registry.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kCandidateSeed = 42, kIntervalSeed = 42;

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, set,
       ": this set is neither in tasks.json nor one of MMEB's 36; write its meta-task and split there");
}

// Rows with these candidates instead of their own; a side keeps its name.
void replace_candidates(std::vector<EvalRow>& rows, const std::vector<std::vector<int32_t>>& own,
                        const std::vector<std::vector<int32_t>>& chosen, const std::vector<Side>& sides) {
  std::map<int32_t, std::string> names;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t c = 0; c < own[i].size(); ++c) names.emplace(own[i][c], rows[i].names[c]);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].candidates.clear(), rows[i].names.clear();
    for (const int32_t number : chosen[i]) {
      rows[i].candidates.push_back(sides[size_t(number)]);
      rows[i].names.push_back(names.at(number));
    }
  }
}

// What the stored queries of a set begin with, behind the picture's token.
std::string instruction_of(const std::string& set, const std::vector<EvalRow>& rows) {
  std::vector<std::string> queries;
  for (const EvalRow& row : rows) queries.push_back(row.query.text);
  const RegisteredSet* known = registered(set);
  return known ? common_instruction({known->query.substr(0, known->query.find('{'))}) : common_instruction(queries);
}

class SetEvaluation {
 public:
  SetEvaluation(const EvalSource& source, const EvaluationData& data, const Pictures& pictures)
      : source_(source),
        data_(data),
        rows_(read_eval_rows(source.file)),
        distinct_(source.name, data.image_token, pictures) {
    score_.name = source.name;
    for (size_t i = 0; i < rows_.size(); ++i) {
      queries_.push_back(distinct_.number(rows_[i].query, i));
      candidates_.emplace_back();
      for (const Side& side : rows_[i].candidates) candidates_.back().push_back(distinct_.number(side, i));
    }
    choose_candidates();
    number_variants();
    for (const auto& list : candidates_) score_.chance += 100.0 / double(list.size()) / double(rows_.size());
  }

  SetScore run(const EmbedFunction& embed, const fs::path& output) {
    Tensor embeddings = embed(distinct_.inputs(), source_.name);
    for (const auto& [instruction, queries] : variants_)
      score_.variants.emplace_back(instruction, accuracy(rank(embeddings, queries, candidates_)));
    const EvaluatedSet set = rank_set(source_.name, std::move(rows_), distinct_.sides(), std::move(embeddings),
                                      std::move(queries_), std::move(candidates_));
    score_.rows = int64_t(set.rows.size());
    for (const RowResult& result : set.results) {
      score_.correct += result.correct;
      score_.ties += result.tie();
      score_.ties_last += result.correct && !result.ties.last;
    }
    score_.accuracy = accuracy(set.results);
    if (!score_.variants.empty()) score_.variants.insert(score_.variants.begin(), {instruction_, score_.accuracy});
    score_.results = set.results;
    if (!output.empty()) write_set_files(output, set, data_.save_embeddings);
    return std::move(score_);
  }
  const std::string& note() const { return note_; }

 private:
  static double accuracy(const std::vector<RowResult>& results) {
    const auto correct = std::count_if(results.begin(), results.end(), [](const RowResult& r) { return r.correct; });
    return 100.0 * double(correct) / double(results.size());
  }

  void choose_candidates() {
    const bool cut = data_.num_candidates > 0 && task_of(source_.name, data_.tasks).meta_task != "classification";
    if (!source_.global && !cut) return;
    const auto own = candidates_;
    if (source_.global) candidates_ = with_all_candidates(candidates_);
    if (cut) {
      candidates_ = with_num_candidates(candidates_, data_.num_candidates, kCandidateSeed);
      note_ = shortage_note(source_.name, candidates_, data_.num_candidates);
    }
    replace_candidates(rows_, own, candidates_, distinct_.sides());
  }

  void number_variants() {
    const std::vector<std::string> variants = variants_of(data_.prompt_variants, source_.name);
    if (variants.empty()) return;
    instruction_ = instruction_of(source_.name, rows_);
    for (const std::string& variant : variants) {
      variants_.emplace_back(variant, std::vector<int32_t>());
      for (size_t i = 0; i < rows_.size(); ++i) {
        const Side& query = rows_[i].query;
        variants_.back().second.push_back(
            distinct_.number({with_instruction(query.text, instruction_, variant), query.image}, i));
      }
    }
  }

  const EvalSource& source_;
  const EvaluationData& data_;
  std::vector<EvalRow> rows_;
  DistinctInputs distinct_;
  std::vector<int32_t> queries_;
  std::vector<std::vector<int32_t>> candidates_;
  std::string instruction_, note_;
  std::vector<std::pair<std::string, std::vector<int32_t>>> variants_;  // instruction and the queries under it
  SetScore score_;
};

}  // namespace

Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks, double SetScore::*value) {
  std::map<std::string, std::pair<double, int>> groups;  // sum and number of sets
  for (SetScore& score : scores) {
    score.task = task_of(score.name, tasks);
    for (const std::string& group : group_names())
      if (belongs(score.task, group)) groups[group].first += score.*value, ++groups[group].second;
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
  for (SetScore& set : chance.sets) set.accuracy = set.chance, set.ties = 0;
  return chance;
}

Estimates intervals(const Summary& summary) {
  std::vector<SetCounts> counts;
  for (const SetScore& set : summary.sets) counts.push_back({set.task, set.rows, set.correct, 0});
  return bootstrap(counts, kIntervalSeed);
}

Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const fs::path& output) {
  // Before hours of embedding: all sets are known, can be read, and have their pictures.
  std::map<fs::path, Pictures> pictures;  // sets of one folder share what is found out about its archives
  std::map<fs::path, PictureCheck> checks;
  std::vector<std::string> names;
  for (const EvalSource& set : data.sets) {
    task_of(set.name, data.tasks);
    names.push_back(set.name);
    const Pictures& here = pictures.try_emplace(set.image_dir, set.image_dir).first->second;
    const std::vector<EvalRow> rows = read_eval_rows(set.file);
    check_set(set.name, rows, checks.try_emplace(set.image_dir, here).first->second);
    for (const std::string& variant : variants_of(data.prompt_variants, set.name))
      for (const EvalRow& row : rows) with_instruction(row.query.text, instruction_of(set.name, rows), variant);
  }
  for (const auto& [folder, check] : checks) check.require_all();
  check_variant_sets(data.prompt_variants, names);

  Evaluation evaluation;
  std::vector<SetScore> scores;
  if (!output.empty()) {
    fs::create_directories(output);
    fs::remove(output / "summary.json");
    for (const std::string& name : names) fs::remove(output / (name + "_score.json"));
  }
  for (const EvalSource& source : data.sets) {
    SetEvaluation set(source, data, pictures.at(source.image_dir));
    if (!set.note().empty()) evaluation.notes.push_back(set.note());
    scores.push_back(set.run(embed, output));
  }
  evaluation.summary = summarise(std::move(scores), data.tasks);
  evaluation.summary.precision = data.precision, evaluation.summary.options = data.options;
  if (!output.empty()) write_text(output / "summary.json", summary_json(evaluation.summary));
  return evaluation;
}

std::vector<Task> tasks_of(const EvalOptions& o) {
  return read_tasks(o.dataset_config.empty() ? fs::path(o.dataset_name) : fs::absolute(o.dataset_config).parent_path());
}

Summary evaluate(const EvalOptions& o, Device device, bool quiet) {
  EvaluationData data;
  std::string config_note;
  if (o.dataset_config.empty()) {
    data.sets = eval_folder(o.dataset_name, o.subset_name, o.image_dir);
  } else {
    DatasetConfig<EvalSource> config = read_eval_config(o.dataset_config, o.data_basedir);
    data.sets = std::move(config.sources), config_note = config.note;
  }
  data.tasks = tasks_of(o);
  if (!o.prompt_variants.empty()) data.prompt_variants = read_prompt_variants(o.prompt_variants);
  const auto encoder = load_model(o, device, quiet);
  const auto cache = open_embedding_cache(o.embedding_cache, o, device, *encoder);
  data.image_token = encoder->image_token(), data.precision = o.precision;
  data.save_embeddings = o.save_embeddings, data.num_candidates = o.num_candidates;
  nlohmann::ordered_json options;
  EvalOptions(o).fields([&](const char* name, const auto& value, const char*) { options[name] = value; });
  for (const char* how : {"encode_output_path", "embedding_cache", "save_embeddings", "per_device_eval_batch_size"})
    options.erase(how);  // these change no score
  data.options = options.dump();
  Progress progress("eval", int64_t(data.sets.size()), quiet);
  progress.note(config_note);
  int64_t sets = 0;
  const auto embed_set = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const auto update = [&](int64_t done) { progress.update(sets, sentence(name, " ", done, "/", inputs.size())); };
    const Tensor embeddings = embed(*encoder, inputs, o.per_device_eval_batch_size, update, cache.get());
    progress.update(++sets, name);
    return embeddings;
  };
  Evaluation evaluation = evaluate(data, embed_set, o.encode_output_path);
  for (const std::string& note : evaluation.notes) progress.note(note);
  progress.note(encoder->flaw_note());
  if (cache) progress.note(cache->note());
  return std::move(evaluation.summary);
}

}  // namespace vlm2vec
