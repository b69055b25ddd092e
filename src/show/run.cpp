#include "show/run.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/json_lines.h"
#include "mmeb/training/training_log.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

bool is_training(const fs::path& folder) { return fs::exists(folder / "log.jsonl"); }
bool is_evaluation(const fs::path& folder) { return fs::exists(folder / "summary.json"); }

int64_t count_parameters(const fs::path& folder) {
  NamedTensors tensors;
  if (const fs::path adapter = folder / "adapter_model.safetensors"; fs::exists(adapter))
    tensors = load_safetensors(adapter);
  else if (fs::exists(folder / "config.json")) tensors = load_checkpoint(folder);
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

TrainingRun read_training(const fs::path& folder) {
  TrainingRun run{folder, {}, "{}", count_parameters(folder)};
  read_json_lines(folder / "log.jsonl", [&](const Json& line) {
    if (const StepLog step = read_step(line); step.pairs > 0) run.steps.push_back(step);
  });
  if (const fs::path file = folder / "training_options.json"; fs::exists(file)) {
    if (!read_json(file).is_object()) fail(Exit::data, file.string(), ": expected a JSON object");
    run.options = read_text(file);
  }
  return run;
}

}  // namespace

std::vector<double> TrainingRun::series(double StepLog::*field) const {
  std::vector<double> values;
  for (const StepLog& step : steps) values.push_back(step.*field);
  return values;
}

std::vector<double> TrainingRun::numbers() const {
  std::vector<double> values;
  for (const StepLog& step : steps) values.push_back(double(step.step));
  return values;
}

double TrainingRun::seconds() const {
  double sum = 0;
  for (const StepLog& step : steps) sum += step.seconds;
  return sum;
}

Run read_run(const std::vector<fs::path>& folders) {
  Run run;
  const auto add = [&](fs::path folder) {
    folder = (fs::absolute(folder).lexically_normal() / "").parent_path();  // removes a trailing slash
    if (is_training(folder)) {
      if (run.training)
        fail(Exit::data, folder.string(), ": is a second training beside ", run.training->folder.string(),
             "; a report covers one");
      run.training = read_training(folder);
    }
    if (is_evaluation(folder)) run.evaluations.push_back({folder, read_summary(folder)});
    return is_training(folder) || is_evaluation(folder);
  };
  for (const fs::path& folder : folders) {
    bool found = add(folder);
    if (!found)
      for (const char* part : {"model", "untrained", "trained", "scores"}) found |= add(folder / part);
    if (!found)
      fail(Exit::data, folder.string(), fs::is_directory(folder) ? ": is not a run" : ": there is no such folder",
           "; expected log.jsonl (of train), summary.json (of eval), or subfolders model, trained or scores with "
           "these files");
  }
  return run;
}

}  // namespace vlm2vec
