// Precision@1 as MMEB measures it: every row's query against the row's own candidates, of which the first is right.
// Each distinct input of a set is embedded once.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/summary.h"
#include "mmeb/options.h"

namespace vlm2vec {

struct EvaluationData {
  std::vector<EvalSource> sets;
  std::vector<Task> tasks;  // of these sets at least
  std::string image_token, precision = "f32", model_sha256 = {};
  bool save_embeddings = true;
  int64_t num_candidates = 0;  // of each query (candidate_lists.h), but in classification; 0: those of its row
  PromptVariants prompt_variants = {};
  std::string options = "{}";                  // for summary.json
  std::vector<std::string> missing_sets = {};  // for summary.json: not evaluated, their rows are not there
};
struct Evaluation {
  Summary summary;
  std::vector<std::string> notes;  // for the user
};
// Evaluates every set; writes its files (evaluation_files.h) and at the end summary.json to `output` unless that is
// empty. What an earlier evaluation of these sets says there goes first. All sets are read, and their pictures looked
// for, before the first is embedded.
Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const std::filesystem::path& output);

// The `eval` command: loads the model, evaluates, reports progress on stderr. SIGINT and SIGTERM end it between two
// batches (Exit::failed), with nothing half written.
Summary evaluate(const EvalOptions& options, Device device, bool quiet);

}  // namespace vlm2vec
