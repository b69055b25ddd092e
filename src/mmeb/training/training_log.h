// The logs of a training run: log.jsonl with every step, the log_history of trainer_state.json like Hugging Face's
// Trainer's, and TensorBoard's event files.
#pragma once
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "mmeb/training/tensorboard.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// One line of log.jsonl. A step without pairs (--bad_rows skip left out all) changes no weight; its loss, norm,
// accuracy and duplicates are NaN here and null in the file.
struct StepLog {
  int64_t step = 0;  // from 1
  double epoch = 0;  // pairs so far / rows
  int64_t pairs = 0;
  double loss = 0, grad_norm = 0;  // grad_norm: before clipping
  double learning_rate = 0, temperature = 0, in_batch_accuracy = 0, seconds = 0;
  int64_t skipped = 0;                 // pairs left out by --bad_rows skip
  int64_t tokens_without_picture = 0;  // sides with an image token but no picture; the token is read as a word
  int64_t cut_texts = 0;               // sides whose text is cut at --max_len
  double duplicates = 0;               // share of queries with a copy of their target in the batch: false negatives
  // Parts of `seconds`: waiting for rows and pictures; GradCache (grad_cache.h); clipping and AdamW.
  double data_seconds = 0, embed_seconds = 0, loss_seconds = 0, backward_seconds = 0, optimiser_seconds = 0;
  int64_t peak_bytes = 0;  // peak bytes in tensors during the step
};

StepLog read_step(const nlohmann::ordered_json& line);  // Exit::data for a field that is not a number

class TrainingLog {
 public:
  // Continues log.jsonl in output_dir after `steps` steps and drops later ones. Exit::data if there are fewer.
  TrainingLog(const TrainOptions& options, int64_t steps, int64_t num_train_epochs);
  ~TrainingLog();
  // Throws Exit::resources if the file cannot be written.
  void add(const StepLog& step);
  // Returns the state after the steps so far. An entry of log_history covers logging_steps steps: their mean loss, and
  // the last step's norm, epoch and learning rate (older transformers than 4.52 log the next step's rate). Values not
  // known here are those of a Trainer that does not know them (total_flos 0).
  std::string trainer_state() const;
  int64_t last_step() const { return last_.step; }  // last step in log.jsonl

 private:
  struct Interval {                                                             // the steps since the last entry
    int64_t steps = 0, pairs = 0, peak_bytes = 0;                               // steps with pairs
    double loss = 0, accuracy = 0, duplicates = 0, seconds = 0, grad_norm = 0;  // grad_norm: the last one's
  };
  // Returns true if the step ends an interval, so that the history has a new entry.
  bool count(const StepLog& step);
  TrainOptions options_;
  int64_t num_train_epochs_;
  std::ofstream stream_;
  std::string file_;
  Interval interval_, entry_;
  StepLog last_;
  std::vector<nlohmann::ordered_json> history_;
  std::optional<TensorBoard> tensorboard_;
};

}  // namespace vlm2vec
