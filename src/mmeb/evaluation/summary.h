// What an evaluation comes to: the scores of its sets and their means, and the file summary.json that keeps them.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "mmeb/evaluation/statistics.h"
#include "mmeb/registry/task.h"

namespace vlm2vec {

struct SetScore {
  std::string name;
  double accuracy = 0, chance = 0;  // percent; chance: the mean of 1 / candidates
  int64_t correct = 0, rows = 0;
  int64_t ties = 0, ties_last = 0;  // rows right only because the first of equal scores wins; that also lose if the
                                    // last one does (the others tie with a duplicate of the right candidate behind)
  std::vector<std::pair<std::string, double>>
      variants;                         // of --prompt_variants: instruction, accuracy; the stored first
  std::string right = {}, digest = {};  // of each row '1' or '0'; SHA-256 of what the rows are, in hexadecimal digits
  bool global = false;                  // ranked among the candidates of all rows
  int64_t limit = 0;                    // > 0: of the file's rows only so many, the first
  int64_t skipped = 0, skipped_candidates = 0;  // left out by --bad_rows skip: rows; candidates of others, each once
  int64_t texts = 0, cut = 0;                   // different inputs; of these, cut at --max_len
  std::string first_cut = {};                   // "row 12 of Scene_t2i"
  Task task = {};                               // set by summarise()
};

// Means over data sets, percent; −1 where no set belongs to the group.
struct Summary {
  double overall = -1, ind = -1, ood = -1, classification = -1, vqa = -1, retrieval = -1, grounding = -1;
  std::vector<SetScore> sets;                  // in the order of the task table
  std::string precision = "f32";               // of the products that made the embeddings
  std::string options = "{}";                  // of the evaluation, as JSON
  std::string model_sha256 = {};               // ModelHash, in hexadecimal digits; empty: not known
  std::vector<std::string> missing_sets = {};  // asked for and left out by --missing_sets skip; in no mean
};
Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks,
                  double SetScore::*value = &SetScore::accuracy);
Summary chance_summary(const Summary& summary);  // what guessing would score on these sets
Estimates intervals(const Summary& summary);     // 95 %, of sets and groups

std::string summary_json(const Summary& summary);  // the content of summary.json
// A set there, but for its interval and task; {set}_score.json has it too. Errors of reading begin with `place`.
nlohmann::ordered_json set_json(const SetScore& set);
SetScore read_set_score(const std::string& name, const nlohmann::ordered_json& stored, const std::string& place);
// Of an earlier evaluation, with the tasks that it had. Exit::data if `folder` is not there or none of eval's; a field
// of a wrong type is named.
Summary read_summary(const std::filesystem::path& folder);
int64_t num_candidates(const Summary& summary);  // of its options; 0: each row's own
int64_t max_len(const Summary& summary);         // likewise; 0: no limit

}  // namespace vlm2vec
