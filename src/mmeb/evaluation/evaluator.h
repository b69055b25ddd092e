// Precision@1 as MMEB measures it: every row's query against the row's own candidates, of which the first is right.
// Each distinct input of a set is embedded once.
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
  std::vector<EvalSource> sets;
  std::vector<Task> tasks;  // of these sets at least
  std::string image_token, precision = "f32", model_sha256 = {}, device = "cpu";
  bool save_embeddings = true;
  int64_t num_candidates = 0;  // of each query (candidate_lists.h), but in classification; 0: those of its row
  PromptVariants prompt_variants = {};
  std::string options = "{}";                  // for summary.json
  std::vector<std::string> missing_sets = {};  // for summary.json: not evaluated, their rows are not there
  bool skip_bad_rows = false, overwrite = false;
  std::function<void(const std::string& set)> finished = {};  // is called for every set that is whole
  std::function<void(const std::string& note)> note = {};     // for the user, before the work begins
};
struct Evaluation {
  Summary summary;
  std::vector<std::string> notes;  // for the user
};
// Evaluates every set; writes its files (evaluation_files.h) and at the end summary.json to `output`
// (evaluation_folder.h) unless that is empty. A set is not evaluated again if its files there are whole and name the
// same model, device, options and content. All sets are read, and looked through for pictures and texts that are not
// there, before the first is embedded.
Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const std::filesystem::path& output);

// The `eval` command: loads the model, evaluates, reports progress on stderr. SIGINT and SIGTERM end it between two
// batches (interrupt_exit), with nothing half written; the same command goes on with the sets that are not finished.
Summary evaluate(const EvalOptions& options, Device device, bool quiet);

}  // namespace vlm2vec
