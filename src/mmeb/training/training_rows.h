// The rows of a training run: all of them, and which each step takes.
#pragma once
#include "mmeb/data/dataset.h"
#include "mmeb/training/sampler.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// Exit::usage for options of rows and sampling that contradict each other or would have no effect.
void check_row_options(const TrainOptions& options);

// The --sampling that is given, or what the default comes to; empty with --batches.
std::string sampling_of(const TrainOptions& options);

class TrainingRows {
 public:
  // Reads the rows that `options` name. Errors: Exit::data, naming file and row.
  explicit TrainingRows(const TrainOptions& options);
  // Every picture is looked for before the first step, not met in the last one.
  void check_pictures() const;

  std::vector<RowId> next() { return sampler_(); }  // the rows of the next batch
  // The rows of batches to come, as many as have `rows` rows together, at least those of a step.
  std::vector<std::vector<RowId>> upcoming(int64_t rows) const;
  int64_t steps() const { return steps_; }  // of the whole run: --max_steps, or what --num_train_epochs comes to
  int64_t epochs() const;                   // that steps() begin
  TrainRow operator[](RowId id) const { return sets_[size_t(id.set)].rows[size_t(id.row)]; }
  std::string fault(RowId id) const { return sets_[size_t(id.set)].rows.fault(size_t(id.row)); }
  std::string name_of(RowId id) const;  // "row 12 of Scene_t2i"
  const Pictures& pictures(RowId id) const { return sets_[size_t(id.set)].pictures; }
  int64_t count() const { return row_count_; }
  int64_t bytes() const;        // of their texts, in memory
  std::string summary() const;  // "27500 rows of 11 sets, shuffled, 2000 steps of 128 pairs"
  std::string note() const;     // lines for the user, perhaps none: missing sets, batches of one pair or of equal rows
  // A hash of all texts and picture paths as the rows have them, in order, of the sets' weights and of --batches. It
  // is the same wherever rows and pictures lie.
  uint64_t fingerprint() const;
  const std::vector<std::string>& missing_sets() const { return missing_sets_; }  // left out by --missing_sets skip

 private:
  std::vector<TrainSet> sets_;
  std::string single_pairs_note() const;
  std::vector<std::string> missing_sets_;
  std::vector<std::vector<int64_t>> batches_;  // of --batches
  Sampler sampler_;
  std::string sampling_, config_note_;  // sampling_ is empty with --batches
  int64_t steps_ = 0, batch_size_, accumulation_, num_hardneg_, row_count_ = 0;
  double num_train_epochs_;
};

}  // namespace vlm2vec
