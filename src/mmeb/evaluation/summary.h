// The result of an evaluation: the scores of its sets and their means, stored in summary.json.
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
  int64_t ties = 0, ties_last = 0;  // rows right only because the first of equal scores wins; rows of these that are
                                    // wrong if the last one wins (the rest tie with a later copy of the right one)
  std::vector<std::pair<std::string, double>>
      variants;                                 // instruction and accuracy of --prompt_variants, the stored one first
  std::string right = {}, digest = {};          // '1' or '0' per row; SHA-256 of the rows, in hexadecimal digits
  bool global = false;                          // ranked among the candidates of all rows
  int64_t limit = 0;                            // > 0: only so many rows of the file, from the first
  int64_t skipped = 0, skipped_candidates = 0;  // left out by --bad_rows skip: rows; distinct candidates of other rows
  int64_t texts = 0, cut = 0;                   // different inputs; inputs cut at --max_len
  std::string first_cut = {};                   // "row 12 of Scene_t2i"
  Task task = {};                               // set by summarise()
};

// Means over data sets, percent; −1 if the group has no set.
struct Summary {
  double overall = -1, ind = -1, ood = -1, classification = -1, vqa = -1, retrieval = -1, grounding = -1;
  std::vector<SetScore> sets;                  // in the order of the task table
  std::string precision = "f32";               // precision of the embeddings' matrix products
  std::string device = "cpu";                  // that computed the embeddings (origin_of)
  std::string options = "{}";                  // the evaluation's options as JSON
  std::string model_sha256 = {};               // ModelHash, in hexadecimal digits; empty: not known
  std::vector<std::string> missing_sets = {};  // left out by --missing_sets skip; not counted in means
};

// The means in the order of tables: names in summary.json, in tables and in the report.
struct MeanScore {
  const char *key, *title, *long_title;
  double Summary::*score;
};
inline constexpr MeanScore kMeanScores[] = {
    {"classification", "Classification", "Classification", &Summary::classification},
    {"vqa", "VQA", "Visual question answering", &Summary::vqa},
    {"retrieval", "Retrieval", "Retrieval", &Summary::retrieval},
    {"grounding", "Visual grounding", "Visual grounding", &Summary::grounding},
    {"IND", "IND", "IND: in distribution", &Summary::ind},
    {"OOD", "OOD", "OOD: out of distribution", &Summary::ood},
    {"overall", "Overall", "Overall", &Summary::overall}};

Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks,
                  double SetScore::*value = &SetScore::accuracy);
Summary chance_summary(const Summary& summary);  // the scores of guessing on these sets
Estimates intervals(const Summary& summary);     // 95 % intervals of sets and groups

std::string summary_json(const Summary& summary);  // the content of summary.json
// Returns a set's entry of summary.json and {set}_score.json, without interval and task.
nlohmann::ordered_json set_json(const SetScore& set);
// Reads this entry; errors begin with `place`.
SetScore read_set_score(const std::string& name, const nlohmann::ordered_json& stored, const std::string& place);
// Reads an earlier evaluation with its tasks. Throws Exit::data if `folder` is missing or not one of eval's; the error
// names a field of a wrong type.
Summary read_summary(const std::filesystem::path& folder);
int64_t num_candidates(const Summary& summary);  // from its options; 0: each row's own
int64_t max_len(const Summary& summary);         // from its options; 0: no limit

}  // namespace vlm2vec
