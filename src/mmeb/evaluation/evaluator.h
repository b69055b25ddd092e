// Measures Precision@1 as MMEB does: each row ranks its own candidates, of which the first is right. Each distinct
// input of a set is embedded once.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/eval_options.h"
#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/summary.h"
#include "mmeb/registry/task.h"

namespace vlm2vec {

struct EvaluationData {
  std::vector<SetSource> sets;
  std::vector<Task> tasks;  // must cover these sets
  std::string image_token, precision = "f32", model_sha256 = {}, device = "cpu";
  bool save_embeddings = true;
  int64_t num_candidates = 0;  // per query (candidate_lists.h), except in classification; 0: the row's own
  PromptVariants prompt_variants = {};
  const PromptStyle* style = nullptr;  // of --prompt; none: stored texts
  std::string options = "{}";                  // for summary.json
  std::vector<std::string> missing_sets = {};  // for summary.json: sets without rows, not evaluated
  bool skip_bad_rows = false, overwrite = false;
  std::function<void(const std::string& set)> finished = {};  // called for every complete set
  std::function<void(const std::string& note)> note = {};     // for the user, before the work begins
};
struct Evaluation {
  Summary summary;
  std::vector<std::string> notes;  // for the user
};
// Evaluates every set. Writes its files (evaluation_files.h) and at the end summary.json to `output`
// (evaluation_folder.h), unless `output` is empty. Keeps a set whose files there are complete and name the same model,
// device, options and content. Reads all sets and checks their pictures and texts before it embeds the first.
Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const std::filesystem::path& output);

// The `eval` command: loads the model, evaluates, reports progress on stderr. SIGINT and SIGTERM end it between two
// batches (interrupt_exit) and leave no half-written file; the same command continues with the unfinished sets.
Summary evaluate(const EvalOptions& options, Device device, bool quiet);

}  // namespace vlm2vec
