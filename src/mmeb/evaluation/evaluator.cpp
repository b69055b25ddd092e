#include "mmeb/evaluation/evaluator.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mmeb/data/dataset_config.h"
#include "mmeb/evaluation/candidate_lists.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/evaluation_files.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/interrupt.h"
#include "mmeb/progress.h"
#include "mmeb/registry/registry.h"
#include "tensor/io/files.h"
#include "tensor/io/folder_lock.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kCandidateSeed = 42;

struct Variant {
  std::string instruction;
  std::vector<int32_t> queries;  // of each row: the side with this instruction
};

// A set that has been read, with its queries under other instructions.
struct ReadSet {
  EvaluationSet rows;
  bool cut = false;         // the file has more rows than its limit
  std::string instruction;  // what its stored queries begin with, behind the picture's token; only with variants
  std::vector<Variant> variants;
};

std::string instruction_of(const EvaluationSet& set) {
  if (const RegisteredSet* known = registered(set.name))
    return common_instruction({known->query.substr(0, known->query.find('{'))});
  std::vector<std::string> queries;
  for (const int32_t query : set.queries) queries.push_back(set.sides[size_t(query)].text);
  return common_instruction(queries);
}

ReadSet read_set(const EvalSource& source, const Pictures& pictures, const PromptVariants& prompt_variants) {
  ReadSet set;
  set.rows.name = source.name;
  int64_t rows = 0;
  const auto add = [&](const EvalRow& row) {
    if (source.limit > 0 && ++rows > source.limit) set.cut = true;
    else set.rows.add(row);
  };
  read_eval_rows(source.file, add, source.limit > 0 ? source.limit + 1 : 0, pictures);
  const std::vector<std::string> instructions = variants_of(prompt_variants, source.name);
  if (!instructions.empty()) set.instruction = instruction_of(set.rows);
  for (const std::string& instruction : instructions) {
    set.variants.push_back({instruction, {}});
    for (size_t row = 0; row < set.rows.queries.size(); ++row) {
      Side query = set.rows.sides[size_t(set.rows.queries[row])];
      query.text = with_instruction(query.text, set.instruction, instruction);
      set.variants.back().queries.push_back(set.rows.number(query, row));
    }
  }
  return set;
}

double accuracy(const std::vector<RowResult>& results) {
  return 100.0 * double(std::ranges::count(results, true, &RowResult::correct)) / double(results.size());
}

SetScore score_of(const ReadSet& set, const EvalSource& source, const std::vector<RowResult>& results,
                  const Tensor& embeddings) {
  SetScore score{.name = set.rows.name,
                 .accuracy = accuracy(results),
                 .rows = int64_t(results.size()),
                 .digest = hex(sha256(set.rows.digests)),
                 .global = source.global,
                 .limit = set.cut ? source.limit : 0};
  for (const CandidateList& list : set.rows.lists)
    score.chance += 100.0 / double(list.size()) / double(set.rows.lists.size());
  for (const RowResult& result : results) {
    score.correct += result.correct;
    score.ties += result.tie();
    score.ties_last += result.correct && !result.ties.last;
    score.right += result.correct ? '1' : '0';
  }
  if (!set.variants.empty()) score.variants.emplace_back(set.instruction, score.accuracy);
  for (const auto& [instruction, queries] : set.variants)
    score.variants.emplace_back(instruction, accuracy(rank(embeddings, set.rows, queries)));
  return score;
}

// Where a row's right name is that of a further candidate too.
std::string repetition_note(const EvaluationSet& set) {
  size_t rows = 0;
  for (const CandidateList& list : set.lists) {
    const std::string& right = set.candidates[size_t(list[0])].name;
    size_t same = 0;
    for (size_t i = 0; i < list.size(); ++i) same += set.candidates[size_t(list[i])].name == right;
    rows += same > 1;
  }
  if (rows == 0) return "";
  return sentence(
      set.name, ": in ", rows, rows == 1 ? " row" : " rows",
      " another candidate has the right one's name; map and ndcg count each, as the official evaluation does, "
      "and may exceed 1");
}

// An evaluation may be made again in its folder; that of something else would be lost.
void require_same_evaluation(const fs::path& folder, const nlohmann::ordered_json& now) {
  nlohmann::ordered_json then;
  try {
    then = nlohmann::ordered_json::parse(read_summary(folder).options);
  } catch (const Error&) {  // none, or one that nobody can read
    return;
  }
  for (const auto& [name, value] : now.items())
    if (then.contains(name) && then[name] != value)
      fail(Exit::usage, "eval: ", folder.string(), ": has an evaluation with --", name, " ", then[name].dump(),
           ", now it is ", value.dump(), "; choose another --encode_output_path, or remove that folder");
}

}  // namespace

Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const fs::path& output) {
  std::vector<std::string> names;
  for (const EvalSource& source : data.sets) {
    task_of(source.name, data.tasks);
    names.push_back(source.name);
  }
  check_variant_sets(data.prompt_variants, names);
  std::map<fs::path, Pictures> pictures;  // sets of one folder share what is found out about its archives
  std::map<fs::path, PictureCheck> checks;
  std::vector<ReadSet> sets;
  for (const EvalSource& source : data.sets) {
    const Pictures& here = pictures.try_emplace(source.image_dir, source.image_dir).first->second;
    sets.push_back(read_set(source, here, data.prompt_variants));
    check_pictures(sets.back().rows, checks.try_emplace(source.image_dir, here).first->second);
  }
  for (const auto& [folder, check] : checks) check.require_all();

  const InterruptGuard guard;  // a signal waits until what is being written is whole
  std::optional<FolderLock> lock;
  if (!output.empty()) {
    make_folder(output);
    lock.emplace(output);
    fs::remove(output / "summary.json");
    for (const std::string& name : names) fs::remove(output / (name + "_score.json"));
  }
  Evaluation evaluation;
  std::vector<SetScore> scores;
  for (size_t i = 0; i < sets.size(); ++i) {
    ReadSet set = std::move(sets[i]);
    const std::string& name = names[i];
    if (data.sets[i].global) set.rows.lists = with_all_candidates(set.rows);
    if (data.num_candidates > 0 && task_of(name, data.tasks).meta_task != "classification") {
      set.rows.lists = with_num_candidates(set.rows, data.num_candidates, kCandidateSeed);
      evaluation.notes.push_back(shortage_note(set.rows, data.num_candidates));
    }
    evaluation.notes.push_back(repetition_note(set.rows));
    const Tensor embeddings =
        embed(encoder_inputs(set.rows, data.image_token, pictures.at(data.sets[i].image_dir)), name);
    const std::vector<RowResult> results = rank(embeddings, set.rows, set.rows.queries);
    scores.push_back(score_of(set, data.sets[i], results, embeddings));
    if (!output.empty()) write_set_files(output, set.rows, embeddings, results, data.save_embeddings);
  }
  std::erase(evaluation.notes, "");
  evaluation.summary = summarise(std::move(scores), data.tasks);
  evaluation.summary.precision = data.precision, evaluation.summary.options = data.options;
  evaluation.summary.model_sha256 = data.model_sha256;
  if (!output.empty()) write_text(output / "summary.json", summary_json(evaluation.summary));
  return evaluation;
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
  data.tasks =
      read_tasks(o.dataset_config.empty() ? fs::path(o.dataset_name) : fs::absolute(o.dataset_config).parent_path());
  if (!o.prompt_variants.empty()) data.prompt_variants = read_prompt_variants(o.prompt_variants);
  data.precision = o.precision;
  data.save_embeddings = o.save_embeddings, data.num_candidates = o.num_candidates;
  nlohmann::ordered_json options;
  EvalOptions(o).fields([&](const char* name, const auto& value, const char*) { options[name] = value; });
  for (const char* how : {"encode_output_path", "embedding_cache", "save_embeddings", "per_device_eval_batch_size"})
    options.erase(how);  // these change no score
  data.options = options.dump();
  require_same_evaluation(o.encode_output_path, options);
  Embedder embedder(o, o.embedding_cache, device, quiet);
  data.image_token = embedder.encoder().image_token();
  data.model_sha256 = hex(embedder.model_hash().digest());
  Progress progress("eval", int64_t(data.sets.size()), quiet);
  progress.note(config_note);
  int64_t sets = 0;
  const auto embed_set = [&](const std::vector<EncoderInput>& inputs, const std::string& name) {
    const auto update = [&](int64_t done) {
      if (interrupted() && done < int64_t(inputs.size()))
        fail(Exit::failed, "eval: interrupted; the files of ", sets, " of ", data.sets.size(), " sets are in ",
             o.encode_output_path, "; ", embedder.how_to_go_on());
      progress.update(sets, sentence(name, " ", done, "/", inputs.size()));
    };
    update(0);
    const Tensor embeddings = embedder.embed(inputs, o.per_device_eval_batch_size, update);
    progress.update(++sets, name);
    return embeddings;
  };
  Evaluation evaluation = evaluate(data, embed_set, o.encode_output_path);
  for (const std::string& note : evaluation.notes) progress.note(note);
  progress.note(embedder.encoder().flaw_note());
  progress.note(embedder.cache_note());
  return std::move(evaluation.summary);
}

}  // namespace vlm2vec
