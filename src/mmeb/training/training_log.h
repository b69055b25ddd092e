// What a training run writes down: log.jsonl with every step; from it the log_history of trainer_state.json, as Hugging
// Face's Trainer keeps it; and TensorBoard's event files.
#pragma once
#include <fstream>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "mmeb/options.h"
#include "mmeb/training/tensorboard.h"
#include "mmeb/training/trainer.h"

namespace vlm2vec {

StepLog read_step(const nlohmann::ordered_json& line);  // of log.jsonl; Exit::data for a field that is no number

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

 private:
  struct Interval {  // the steps since the last entry
    int64_t steps = 0, pairs = 0, peak_bytes = 0;
    double loss = 0, accuracy = 0, duplicates = 0, seconds = 0;
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
