// Reads a run from disk: the log and options of its training, and its evaluations with their rows ranked again.
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
  int64_t parameters = 0;  // number in the saved weights or adapter; 0 if none is saved yet

  std::vector<double> series(double StepLog::*field) const;
  std::vector<double> numbers() const;  // step numbers
  double seconds() const;
};

struct EvaluationRun {
  std::filesystem::path folder;
  Summary summary;
  std::string title() const { return folder.filename().string(); }
};

struct Run {
  std::optional<TrainingRun> training;
  std::vector<EvaluationRun> evaluations;  // the last is reported and compared with the one before
};
// Throws Exit::data if a folder is not a run, or if two folders are trainings.
Run read_run(const std::vector<std::filesystem::path>& folders);

// A set of an evaluation: its rows, the stored vectors of their sides, and the ranking by these vectors.
struct RankedSet {
  EvaluationSet rows;
  Tensor embeddings;  // [rows.sides, d]
  std::vector<RowResult> results;
  Pictures pictures;
  Task task;
};
// Returns all sets of an evaluation with rows and vectors; `missing` gets a sentence for each other set. Looks for the
// data at the evaluation's path, then in data/ beside the evaluation's folder.
std::vector<RankedSet> read_ranked_sets(const EvaluationRun& evaluation, std::vector<std::string>& missing);

}  // namespace vlm2vec
