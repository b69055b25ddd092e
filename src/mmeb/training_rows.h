// The rows of a training run: all of them, and which each step takes.
#pragma once
#include <optional>

#include "mmeb/dataset.h"
#include "mmeb/options.h"
#include "mmeb/sampler.h"

namespace vlm2vec {

class TrainingRows {
 public:
  // Reads the rows that `options` name. Errors: Exit::data, naming file and row.
  explicit TrainingRows(const TrainOptions& options);
  // Every picture is looked for before the first step, not met in the last one.
  void check_pictures() const;

  std::vector<RowId> next();                // the rows of the next batch
  int64_t steps() const { return steps_; }  // of the whole run: --max_steps, or what --num_train_epochs comes to
  int64_t count() const { return row_count_; }
  int64_t epochs() const;  // that steps() begin; num_train_epochs of trainer_state.json
  const TrainRow& operator[](RowId id) const { return sets_[size_t(id.set)].rows[size_t(id.row)]; }
  std::string name_of(RowId id) const;  // "row 12 of Scene_t2i"
  const std::filesystem::path& image_dir() const { return image_dir_; }
  std::string summary() const;   // "27500 rows of 11 sets, 2000 steps of 128 pairs"
  std::string note() const;      // for the user, if a batch cannot but repeat rows; else empty
  uint64_t fingerprint() const;  // of all texts and picture paths, in order (FNV-1a)

 private:
  void read_batches(const TrainOptions& options);
  std::vector<TrainSet> sets_;
  std::vector<std::vector<int64_t>> batches_;
  std::optional<Sampler> sampler_;
  std::filesystem::path image_dir_;
  int64_t steps_ = 0, batch_size_, accumulation_, row_count_ = 0;
  double num_train_epochs_;
  size_t position_ = 0;
};

}  // namespace vlm2vec
