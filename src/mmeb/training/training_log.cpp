#include "mmeb/training/training_log.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/json_lines.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Returns the lines of a checkpoint's steps.
std::string first_lines(const fs::path& file, int64_t steps) {
  if (steps == 0) return "";
  if (!fs::exists(file))
    fail(Exit::data, file.string(), ": no such file, but the checkpoint to continue from has ", steps,
         " steps; put the file back, or train from the checkpoint's weights into another --output_dir");
  const std::string text = read_text(file);
  size_t end = 0;
  for (int64_t i = 0; i < steps; ++i) {
    end = text.find('\n', end);
    if (end == std::string::npos)
      fail(Exit::data, file.string(), ": has ", i, " steps, the checkpoint ", steps, "; they belong to different runs");
    ++end;
  }
  return text.substr(0, end);
}

// The fields of a line of log.jsonl, in order.
template <class Step, class Visit>
void fields(Step& step, Visit&& visit) {
  visit("step", step.step);
  visit("epoch", step.epoch);
  visit("pairs", step.pairs);
  visit("loss", step.loss);
  visit("grad_norm", step.grad_norm);
  visit("learning_rate", step.learning_rate);
  visit("temperature", step.temperature);
  visit("in_batch_accuracy", step.in_batch_accuracy);
  visit("duplicates", step.duplicates);
  visit("skipped", step.skipped);
  visit("tokens_without_picture", step.tokens_without_picture);
  visit("cut_texts", step.cut_texts);
  visit("seconds", step.seconds);
  visit("data_seconds", step.data_seconds);
  visit("embed_seconds", step.embed_seconds);
  visit("loss_seconds", step.loss_seconds);
  visit("backward_seconds", step.backward_seconds);
  visit("optimiser_seconds", step.optimiser_seconds);
  visit("peak_bytes", step.peak_bytes);
}

std::string to_line(const StepLog& step) {
  Json line;
  fields(step, [&](const char* name, const auto& value) { line[name] = value; });
  return line.dump();
}

}  // namespace

StepLog read_step(const Json& line) {
  StepLog step;
  const bool empty = line.contains("pairs") && line["pairs"] == 0;
  fields(step, [&]<class T>(const char* name, T& value) {
    const bool newer = std::string(name) == "cut_texts" || std::string(name) == "temperature";
    if (!line.contains(name) && newer) return;  // an earlier version's log
    if (std::is_floating_point_v<T> && empty && line.contains(name) && line[name].is_null()) {
      value = std::numeric_limits<T>::quiet_NaN();
      return;
    }
    if (!line.contains(name) || !line[name].is_number()) fail(Exit::data, name, " is not a number");
    line[name].get_to(value);
  });
  return step;
}

TrainingLog::TrainingLog(const TrainOptions& o, int64_t steps, int64_t num_train_epochs)
    : options_(o), num_train_epochs_(num_train_epochs), file_((fs::path(o.output_dir) / "log.jsonl").string()) {
  const std::string lines = first_lines(file_, steps);
  if (steps > 0)
    read_json_lines(
        file_, [&](const Json& line) { count(read_step(line)); }, steps);
  if (o.report_to == "tensorboard") {
    const fs::path output = o.output_dir;
    const std::string name = o.run_name.empty() ? (output / "").parent_path().filename().string() : o.run_name;
    tensorboard_.emplace(o.logging_dir.empty() ? output / "runs" / name : fs::path(o.logging_dir), steps + 1);
  }
  write_text(file_, lines);
  stream_.open(file_, std::ios::app);
}

TrainingLog::~TrainingLog() = default;

bool TrainingLog::count(const StepLog& step) {
  last_ = step;
  if (step.pairs > 0) {
    ++interval_.steps;
    interval_.pairs += step.pairs;
    interval_.loss += step.loss;
    interval_.accuracy += step.in_batch_accuracy;
    interval_.duplicates += step.duplicates;
    interval_.grad_norm = step.grad_norm;
  }
  interval_.seconds += step.seconds;
  interval_.peak_bytes = std::max(interval_.peak_bytes, step.peak_bytes);
  if (step.step % options_.logging_steps != 0) return false;
  entry_ = std::exchange(interval_, {});
  if (entry_.steps == 0) return false;
  history_.push_back({{"epoch", step.epoch},
                      {"grad_norm", entry_.grad_norm},
                      {"learning_rate", step.learning_rate},
                      {"loss", std::round(entry_.loss / double(entry_.steps) * 1e4) / 1e4},  // 4 digits, as there
                      {"step", step.step}});
  return true;
}

void TrainingLog::add(const StepLog& step) {
  stream_ << to_line(step) << std::endl;
  if (!stream_) fail(Exit::resources, file_, ": writing failed; is the disk full?");
  if (!count(step) || !tensorboard_) return;
  const double steps = double(entry_.steps);
  tensorboard_->add(step.step, {{"train/loss", entry_.loss / steps},
                                {"train/grad_norm", entry_.grad_norm},
                                {"train/learning_rate", step.learning_rate},
                                {"train/temperature", step.temperature},
                                {"train/epoch", step.epoch},
                                {"train/in_batch_accuracy", entry_.accuracy / steps},
                                {"train/duplicates", entry_.duplicates / steps},
                                {"perf/pairs_per_s", double(entry_.pairs) / entry_.seconds},
                                {"perf/peak_bytes", double(entry_.peak_bytes)}});
}

std::string TrainingLog::trainer_state() const {
  Json state = Json::parse(R"({"best_metric": null, "best_model_checkpoint": null, "epoch": 0, "eval_steps": 500,
      "global_step": 0, "is_hyper_param_search": false, "is_local_process_zero": true, "is_world_process_zero": true,
      "log_history": [], "logging_steps": 0, "max_steps": 0, "num_input_tokens_seen": 0, "num_train_epochs": 0,
      "save_steps": 0, "stateful_callbacks": {"TrainerControl": {
        "args": {"should_epoch_stop": false, "should_evaluate": false, "should_log": false, "should_save": true,
          "should_training_stop": false}, "attributes": {}}},
      "total_flos": 0.0, "train_batch_size": 0, "trial_name": null, "trial_params": null})");
  state["epoch"] = last_.epoch, state["global_step"] = last_.step, state["log_history"] = history_;
  state["logging_steps"] = options_.logging_steps, state["max_steps"] = options_.max_steps;
  state["num_train_epochs"] = num_train_epochs_, state["save_steps"] = options_.save_steps;
  state["train_batch_size"] = options_.per_device_train_batch_size;
  state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"] = last_.step >= options_.max_steps;
  return state.dump(2) + "\n";
}

}  // namespace vlm2vec
