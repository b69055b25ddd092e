#include "mmeb/evaluation/evaluator.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "io/files.h"
#include "io/interrupt.h"
#include "io/progress.h"
#include "io/text.h"
#include "mmeb/data/dataset_config.h"
#include "mmeb/evaluation/candidate_lists.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/evaluation_files.h"
#include "mmeb/evaluation/evaluation_folder.h"
#include "mmeb/evaluation/evaluation_identity.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/read_set.h"
#include "mmeb/registry/registry.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

using Json = nlohmann::ordered_json;

constexpr uint64_t kCandidateSeed = 42;

// Returns the folder's score if the set need not be evaluated again.
std::optional<SetScore> finished_score(EvaluationFolder& folder, const std::string& set, const Json& identity,
                                       const EvaluationData& data, std::vector<std::string>& changed) {
  const FileGroup group = set_files(set);
  std::optional<SetScore> score;
  if (data.model_sha256.empty()) return score;
  folder.find(group, [&](const Json& mark) {
    Json made = mark.value("evaluation", Json());
    if (!is_same_evaluation(made, identity)) {
      if (made.is_object()) made["content_sha256"] = identity.at("content_sha256");
      if (is_same_evaluation(made, identity)) changed.push_back(set);
      return false;
    }
    for (const char* vectors : {"_qry.npy", "_qry_ids.jsonl", "_tgt.npy", "_tgt_ids.jsonl"})
      if (data.save_embeddings && !folder.has(group, set + vectors)) return false;
    try {
      score = read_set_score(set, mark.value("summary", Json()), set);
    } catch (const Error&) {  // not a file of eval
      return false;
    }
    if (score->skipped + score->skipped_candidates > 0 && !data.skip_bad_rows) score.reset();
    return score.has_value();
  });
  return score;
}

// A set under evaluation: its rows, their source and its identity.
struct Work {
  EvaluationSet set;
  SetSource source;
  Pictures pictures;
  int64_t candidates;  // per query; 0: the row's own
  Json identity;
};

SetScore evaluate_set(Work work, const EvaluationData& data, const EmbedFunction& embed, EvaluationFolder* folder,
                      std::vector<std::string>& notes) {
  EvaluationSet& set = work.set;
  const EmbeddedRows embedded = embed(encoder_inputs(set, data.image_token, work.pictures), set.name);
  const bool unreadable = !set.faults.empty() || !std::ranges::all_of(embedded.faults, &std::string::empty);
  const bool own = !work.source.global && work.candidates == 0;  // else rows share candidates
  const Unusable unusable = unreadable ? leave_out(set, embedded.faults, own) : Unusable();
  if (work.source.global) set.lists = with_all_candidates(set);
  if (work.candidates > 0) {
    set.lists = with_num_candidates(set, work.candidates, kCandidateSeed);
    notes.push_back(shortage_note(set, work.candidates));
  }
  notes.push_back(repetition_note(set));
  const std::vector<RowResult> results = rank(embedded.vectors, set, set.queries);
  SetScore score = score_of(set, work.source, results, embedded.vectors);
  score.skipped = unusable.rows, score.skipped_candidates = unusable.candidates;
  score.texts = embedded.cut.texts, score.cut = embedded.cut.cut, score.first_cut = embedded.cut.first;
  if (folder)
    folder->add(set_files(score.name), [&](const fs::path& place) {
      Json mark = write_set_files(place, set, embedded.vectors, results, data.save_embeddings);
      write_left_out(place / (score.name + "_skipped_rows.jsonl"), unusable.sides);
      mark["num_data"] = score.rows + score.skipped;
      mark["num_skipped"] = score.skipped, mark["num_skipped_candidates"] = score.skipped_candidates;
      mark["num_cut"] = score.cut;
      mark["summary"] = set_json(score), mark["evaluation"] = work.identity;
      return mark;
    });
  return score;
}

// Reads and checks every set before the first is embedded.
std::vector<Work> read_sets(const EvaluationData& data) {
  std::map<fs::path, Pictures> pictures;  // sets of one folder share the index of its archives
  std::map<fs::path, PictureCheck> checks;
  std::vector<Work> sets;
  for (const SetSource& source : data.sets) {
    const bool classes = task_of(source.name, data.tasks).meta_task == "classification";
    const Pictures& here = pictures.try_emplace(source.image_dir, source.image_dir).first->second;
    Work work{read_set(source, here, data.style, data.prompt_variants, bad_row(data.skip_bad_rows)),
              source,
              here,
              classes ? 0 : data.num_candidates,
              {}};
    const EvaluationSet& rows = work.set;
    if (!data.skip_bad_rows) {
      check_pictures(rows, checks.try_emplace(source.image_dir, here).first->second);
      reading_rows("error", [&] { check_texts(rows, data.image_token); });
    }
    const std::string content =
        content_digest(work.set, source, encoder_inputs(rows, data.image_token, here));
    work.identity = identity_json(Json::parse(data.options), data.model_sha256, data.device, content, work.candidates);
    sets.push_back(std::move(work));
  }
  reading_rows("error", [&] {
    for (const auto& [folder, check] : checks) check.require_all();
  });
  return sets;
}

// Throws if the folder has sets beyond `names`: a smaller evaluation must not replace a larger one.
void require_all_sets(const fs::path& output, const std::vector<std::string>& names) {
  const std::string end = "_score.json";
  std::vector<std::string> others;
  for (const auto& entry : fs::directory_iterator(output)) {
    const std::string file = entry.path().filename().string(), set = file.substr(0, file.size() - end.size());
    if (!file.ends_with(end) || std::ranges::find(names, set) != names.end()) continue;
    const Json score = Json::parse(read_text(entry), nullptr, false);
    if (score.is_object() && score.contains("evaluation")) others.push_back(set);
  }
  if (others.empty()) return;
  std::ranges::sort(others);
  fail(Exit::usage, "eval: ", output.string(), ": has the evaluation of more sets, ", others[0],
       others.size() == 1 ? "" : sentence(" and ", others.size() - 1, " others"),
       ", than are evaluated now; choose another --encode_output_path, or evaluate all sets");
}

}  // namespace

Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const fs::path& output) {
  std::vector<std::string> names;
  for (const SetSource& source : data.sets) names.push_back(source.name);
  check_variant_sets(data.prompt_variants, names);
  std::vector<Work> sets = read_sets(data);

  const InterruptGuard guard;  // a signal waits until all files under way are complete
  std::optional<EvaluationFolder> folder;
  if (fs::is_directory(output)) require_all_sets(output, names);
  if (!output.empty()) folder.emplace(output, data.overwrite);
  std::vector<std::optional<SetScore>> finished(sets.size());
  std::vector<std::string> changed;
  for (size_t i = 0; folder && i < sets.size(); ++i)
    finished[i] = finished_score(*folder, names[i], sets[i].identity, data, changed);
  if (!changed.empty() && data.note)
    data.note("eval: rows or pictures have changed since the scores were made; evaluated again: " +
              joined(std::set(changed.begin(), changed.end())));
  const auto kept = std::ranges::count_if(finished, [](const auto& score) { return score.has_value(); });
  if (kept > 0 && data.note)
    data.note(sentence("eval: ", kept, " of ", counted(sets.size(), "set"), sets.size() == 1 ? " is" : " are",
                       " finished in ", output.string(), " and kept",
                       data.overwrite ? "" : "; --overwrite True evaluates them again"));

  Evaluation evaluation;
  std::vector<SetScore> scores;
  std::vector<FileGroup> groups;
  for (size_t i = 0; i < sets.size(); ++i) {
    Work work = std::move(sets[i]);
    scores.push_back(finished[i]
                         ? *finished[i]
                         : evaluate_set(std::move(work), data, embed, folder ? &*folder : nullptr, evaluation.notes));
    groups.push_back(set_files(names[i]));
    if (data.finished) data.finished(names[i]);
  }
  std::erase(evaluation.notes, "");
  evaluation.summary = summarise(std::move(scores), data.tasks);
  evaluation.summary.precision = data.precision, evaluation.summary.device = data.device;
  evaluation.summary.options = data.options;
  evaluation.summary.model_sha256 = data.model_sha256;
  evaluation.summary.missing_sets = data.missing_sets;
  if (folder) folder->finish(groups, summary_json(evaluation.summary));
  return evaluation;
}

Summary evaluate(const EvalOptions& o, Device device, bool quiet) {
  EvaluationData data;
  std::string config_note;
  if (o.dataset_config.empty()) {
    data.sets = eval_folder(o.dataset_name, o.subset_name, o.image_dir, o.missing_sets == "skip");
  } else {
    DatasetConfig config = read_eval_config(o.dataset_config, o.data_basedir);
    data.sets = std::move(config.sources), config_note = config.note;
  }
  data.missing_sets = leave_out_missing(data.sets, o.missing_sets == "skip");
  data.tasks =
      read_tasks(o.dataset_config.empty() ? fs::path(o.dataset_name) : fs::absolute(o.dataset_config).parent_path());
  if (!o.prompt_variants.empty()) data.prompt_variants = read_prompt_variants(o.prompt_variants);
  data.precision = o.precision, data.device = origin_of(device);
  data.save_embeddings = o.save_embeddings, data.num_candidates = o.num_candidates;
  data.skip_bad_rows = skips_bad_rows("eval", o.bad_rows), data.overwrite = o.overwrite;
  const Json options = options_json(o);
  data.options = options.dump();
  if (!o.overwrite) require_same_evaluation(o.encode_output_path, options, "");
  Embedder embedder(o, o.embedding_cache, device, quiet);
  data.image_token = embedder.encoder().image_token();
  data.style = style_named(embedder.encoder().family, o.prompt);
  data.model_sha256 = hex(embedder.model_hash().digest());
  if (!o.overwrite) require_same_evaluation(o.encode_output_path, options, data.model_sha256);

  Progress progress("eval", int64_t(data.sets.size()), quiet);
  progress.note(config_note);
  progress.note(missing_sets_note("eval", data.missing_sets));
  int64_t sets = 0;
  const auto go_on = [&] {
    return sentence(sets, " of ", counted(data.sets.size(), "set"), data.sets.size() == 1 ? " is" : " are",
                    " finished in ", o.encode_output_path, "; the same command continues ",
                    o.embedding_cache.empty() ? "with the other sets (with --embedding_cache FOLDER inside a set)"
                                              : "from the vectors in " + o.embedding_cache);
  };
  data.note = [&](const std::string& note) { progress.note(note); };
  data.finished = [&](const std::string& name) { progress.update(++sets, name); };
  const auto embed_set = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const auto update = [&](int64_t done) {
      if (interrupted() && done < int64_t(inputs.size())) fail(interrupt_exit(), "eval: interrupted; ", go_on());
      progress.update(sets, sentence(name, " ", done, "/", inputs.size()));
    };
    update(0);
    EmbeddedRows embedded = reading_rows(
        o.bad_rows, [&] { return embedder.embed(inputs, o.per_device_eval_batch_size, update, data.skip_bad_rows); });
    embedder.model_hash().require_unchanged();
    return embedded;
  };
  Evaluation evaluation = evaluate(data, embed_set, o.encode_output_path);
  for (const std::string& note : evaluation.notes) progress.note(note);
  progress.note(embedder.encoder().processor.picture_note());
  progress.note(embedder.cache_note());
  return std::move(evaluation.summary);
}

}  // namespace vlm2vec
