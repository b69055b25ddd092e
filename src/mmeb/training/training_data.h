// All rows of a training run, and the choice of rows for each step.
#pragma once
#include "mmeb/data/dataset.h"
#include "mmeb/training/sampler.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// Throws Exit::usage for options of rows and sampling that contradict each other or have no effect.
void check_row_options(const TrainOptions& options);

// Returns --sampling or its default; empty with --batches.
std::string sampling_of(const TrainOptions& options);

class TrainingData {
 public:
  // Reads the rows that `options` name. Throws Exit::data with file and row.
  explicit TrainingData(const TrainOptions& options);
  // Checks before the first step that every picture exists.
  void check_pictures() const;

  std::vector<RowId> next() { return sampler_(); }  // the rows of the next batch
  // Returns the next batches that together have `rows` rows, at least those of one step.
  std::vector<std::vector<RowId>> upcoming(int64_t rows) const;
  int64_t steps() const { return steps_; }  // steps of the whole run: --max_steps, or by --num_train_epochs
  int64_t epochs() const;                   // number of epochs that steps() begin
  TrainRow operator[](RowId id) const { return sets_[size_t(id.set)].rows[size_t(id.row)]; }
  std::string fault(RowId id) const { return sets_[size_t(id.set)].rows.fault(size_t(id.row)); }
  std::string name_of(RowId id) const;  // "row 12 of Scene_t2i"
  std::string form(RowId id, bool of_query) const;  // MMEB's text around the row's own words; "": there is none
  const Pictures& pictures(RowId id) const { return sets_[size_t(id.set)].pictures; }
  int64_t count() const { return row_count_; }
  int64_t bytes() const;        // memory of the texts
  std::string summary() const;  // "27500 rows of 11 sets, shuffled, 2000 steps of 128 pairs"
  std::string note() const;     // lines for the user, perhaps none: missing sets, batches of one pair or of equal rows
  // Returns a hash of all texts and stored picture paths in order, of the sets' weights and of --batches. It does not
  // depend on the folders of rows and pictures.
  uint64_t fingerprint() const;
  const std::vector<std::string>& missing_sets() const { return missing_sets_; }  // left out by --missing_sets skip

 private:
  std::vector<TrainSet> sets_;
  std::string single_pairs_note() const;
  std::vector<std::string> missing_sets_;
  std::vector<std::vector<int64_t>> batches_;  // from --batches
  Sampler sampler_;
  std::string sampling_, config_note_;  // sampling_ is empty with --batches
  int64_t steps_ = 0, batch_size_, accumulation_, num_hardneg_, row_count_ = 0;
  double num_train_epochs_;
};

}  // namespace vlm2vec
