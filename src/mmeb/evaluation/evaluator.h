// Precision@1 as MMEB measures it: every row's query against the row's own candidates, of which the first is right.
// Each distinct input of a set is embedded once.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/evaluation_inputs.h"
#include "mmeb/evaluation/prompt_variants.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/statistics.h"
#include "mmeb/options.h"

namespace vlm2vec {

struct SetScore {
  std::string name;
  double accuracy = 0, chance = 0;  // percent; chance: the mean of 1 / candidates
  int64_t correct = 0, rows = 0;
  int64_t ties = 0, ties_last = 0;  // rows right only because the first of equal scores wins; that also lose if the
                                    // last one does (the others tie with a duplicate of the right candidate behind)
  std::vector<std::pair<std::string, double>>
      variants;                    // of --prompt_variants: instruction, accuracy; the stored first
  std::vector<RowResult> results;  // of each row; not kept in summary.json
  Task task = {};                  // set by summarise()
};

// Means over data sets, percent; −1 where no set belongs to the group.
struct Summary {
  double overall = -1, ind = -1, ood = -1, classification = -1, vqa = -1, retrieval = -1, grounding = -1;
  std::vector<SetScore> sets;     // in the order of the task table
  std::string precision = "f32";  // of the products that made the embeddings
  std::string options = "{}";     // of the evaluation, as JSON
};
Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks,
                  double SetScore::*value = &SetScore::accuracy);
Estimates intervals(const Summary& summary);  // 95 %, of sets and groups

struct EvaluationData {
  std::vector<EvalSource> sets;
  std::vector<Task> tasks;  // of these sets at least
  std::string image_token, precision = "f32";
  bool save_embeddings = true;
  int64_t num_candidates = 0;  // of each query (candidate_lists.h), but in classification; 0: those of its row
  PromptVariants prompt_variants = {};
  std::string options = "{}";  // for summary.json
};
struct Evaluation {
  Summary summary;
  std::vector<std::string> notes;  // for the user
};
// Evaluates every set; writes its files (evaluation_files.h) and at the end summary.json to `output` unless that is
// empty. What an earlier evaluation of these sets says there goes first.
Evaluation evaluate(const EvaluationData& data, const EmbedFunction& embed, const std::filesystem::path& output);

// The `eval` command: loads the model, evaluates, reports progress on stderr.
Summary evaluate(const EvalOptions& options, Device device, bool quiet);
std::vector<Task> tasks_of(const EvalOptions& options);  // tasks.json beside the data, or what is known of MMEB

// A table like the paper's: a row per group and data set; several summaries side by side under their titles, the last
// one with its intervals.
std::string score_table(const std::vector<std::pair<std::string, Summary>>& columns, const std::vector<Task>& tasks);
std::string variants_table(const Summary& summary);  // how far other instructions move each set's score; may be empty
// The same sets beside published results: means of each model over the sets of MMEB that were evaluated, and which were
// not. Averages that are published without their sets stand there only when all 36 were. Empty: no set is MMEB's.
std::string published_table(const Summary& ours, const std::string& title);
// The paper's scores by the number of candidates, for --num_candidates. Empty: no set is MMEB's.
std::string published_candidates_table(const Summary& ours);
std::string summary_json(const Summary& summary);  // the content of summary.json
Summary read_summary(const std::filesystem::path& folder, const std::vector<Task>& tasks);  // of an earlier evaluation
Summary chance_summary(const Summary& summary, const std::vector<Task>& tasks);

}  // namespace vlm2vec
