// What a run left on the disk: the log and options of its training, and its evaluations with their rows ranked again.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/summary.h"
#include "mmeb/training/training_log.h"

namespace vlm2vec {

struct TrainingRun {
  std::filesystem::path folder;
  std::vector<StepLog> steps;
  std::string options;     // training_options.json
  int64_t parameters = 0;  // in the weights or the adapter that it left; 0: it has left none yet

  std::vector<double> series(double StepLog::*field) const;
  std::vector<double> numbers() const;  // of the steps
  double seconds() const;
};

struct EvaluationRun {
  std::filesystem::path folder;
  Summary summary;
  std::string title() const { return folder.filename().string(); }
};

struct Run {
  std::optional<TrainingRun> training;
  std::vector<EvaluationRun> evaluations;  // the last is the one to report on, the one before stands beside it
};
// Exit::data if a folder is none of a run, or two are trainings.
Run read_run(const std::vector<std::filesystem::path>& folders);

// A set of an evaluation: its rows, the stored vectors of their sides, and the ranking that these give.
struct RankedSet {
  EvaluationSet rows;
  Tensor embeddings;  // [rows.sides, d]
  std::vector<RowResult> results;
  Pictures pictures;
  Task task;
};
// All sets of an evaluation whose rows and vectors are there; why others are left out is said in `missing`. The data is
// looked for where the evaluation found it, else under data/ beside the evaluation's folder.
std::vector<RankedSet> read_ranked_sets(const EvaluationRun& evaluation, std::vector<std::string>& missing);

}  // namespace vlm2vec
