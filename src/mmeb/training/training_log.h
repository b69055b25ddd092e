// What a training run writes down: log.jsonl with every step; from it the log_history of trainer_state.json, as Hugging
// Face's Trainer keeps it; and TensorBoard's event files.
#pragma once
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "mmeb/training/tensorboard.h"
#include "mmeb/training/train_options.h"

namespace vlm2vec {

// One line of log.jsonl. A step without a pair (--bad_rows skip left all of them out) has changed no weight: its loss,
// norm, accuracy and duplicates are NaN here and null there.
struct StepLog {
  int64_t step = 0;  // from 1
  double epoch = 0;  // pairs so far / rows
  int64_t pairs = 0;
  double loss = 0, grad_norm = 0;  // the norm before clipping
  double learning_rate = 0, in_batch_accuracy = 0, seconds = 0;
  int64_t skipped = 0;                 // pairs left out by --bad_rows skip
  int64_t tokens_without_picture = 0;  // sides with an image token and no picture, which is read as a word
  int64_t cut_texts = 0;               // sides whose text is cut at --max_len
  double duplicates = 0;               // share of queries whose target is in the batch again: false negatives
  // Parts of `seconds`: drawing rows; GradCache (grad_cache.h); clipping and AdamW.
  double data_seconds = 0, embed_seconds = 0, loss_seconds = 0, backward_seconds = 0, optimiser_seconds = 0;
  int64_t peak_bytes = 0;  // most bytes in tensors during the step
};

StepLog read_step(const nlohmann::ordered_json& line);  // of log.jsonl; Exit::data for a field that is not a number

class TrainingLog {
 public:
  // Goes on after `steps` steps of log.jsonl in output_dir; what came after them is forgotten. Exit::data if
  // there are fewer.
  TrainingLog(const TrainOptions& options, int64_t steps, int64_t num_train_epochs);
  ~TrainingLog();
  // Exit::resources if it cannot be written.
  void add(const StepLog& step);
  // After the steps so far. An entry of log_history stands for logging_steps steps: the mean loss, and norm, learning
  // rate (that of the step, as transformers 4.52 logs it; older ones log the next step's) and epoch of the last one.
  // What is not known here has the value of a Trainer that does not know it either (total_flos 0).
  std::string trainer_state() const;
  int64_t last_step() const { return last_.step; }  // that log.jsonl has

 private:
  struct Interval {                                                             // the steps since the last entry
    int64_t steps = 0, pairs = 0, peak_bytes = 0;                               // steps with pairs
    double loss = 0, accuracy = 0, duplicates = 0, seconds = 0, grad_norm = 0;  // grad_norm: of the last one
  };
  // True if the step ends an interval, which then is an entry of the history.
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
