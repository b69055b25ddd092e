#include "mmeb/training/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "nn/peft.h"
#include "nn/state.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "checkpoint-";

Json to_json(TrainOptions options) {
  Json json;
  options.fields([&](const char* name, auto& value, const char*) { json[name] = value; });
  return json;
}

// The step in "checkpoint-120"; −1 for other names.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return -1;
  const std::string number = name.substr(kPrefix.size());
  const bool digits =
      !number.empty() && number.size() < 18 && number.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::stoll(number) : -1;
}

// Options that may differ between the run that wrote a checkpoint and the one that goes on: where and how, not what.
bool may_differ(const std::string& name) {
  static const std::set<std::string> names = {
      "output_dir",  "resume_from", "save_steps",      "save_total_limit", "logging_steps",         "report_to",
      "logging_dir", "run_name",    "gc_q_chunk_size", "gc_p_chunk_size",  "gradient_checkpointing"};
  return names.contains(name);
}

// Without loss: a vector that was rounded to bf16 is computed with in f32.
Tensor narrowed(const Tensor& t) {
  if (t.dtype() != DType::f32) return t;
  const Tensor narrow = t.to(DType::bf16);
  return std::memcmp(narrow.to(DType::f32).raw(), t.raw(), size_t(t.bytes())) == 0 ? narrow : t;
}

std::vector<int64_t> checkpoints_of(const fs::path& output_dir) {
  std::vector<int64_t> steps;
  if (fs::is_directory(output_dir))
    for (const auto& entry : fs::directory_iterator(output_dir))
      if (const int64_t step = step_of(entry.path().filename().string()); step >= 0) steps.push_back(step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

fs::path checkpoint_folder(const fs::path& output_dir, int64_t step) {
  return output_dir / (std::string(kPrefix) + std::to_string(step));
}

}  // namespace

std::string options_as_json(TrainOptions options) { return to_json(std::move(options)).dump(2) + "\n"; }

void save_model(const TrainedModel& model, const fs::path& folder) {
  if (model.lora) {
    save_adapter(*model.lora, folder, model.base_model);
    return;
  }
  model.encoder->write_configuration(folder);
  NamedTensors weights = state_dict(*model.encoder);
  if (model.bf16_storage)
    for (auto& [name, weight] : weights) weight = narrowed(weight);
  const bool all_bf16 =
      std::all_of(weights.begin(), weights.end(), [](const auto& w) { return w.second.dtype() == DType::bf16; });
  Json config = Json::parse(read_text(folder / "config.json"));
  // Trained weights are kept so, whatever the checkpoint was stored in; newer configurations say dtype.
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = all_bf16 ? "bfloat16" : "float32";
  write_text(folder / "config.json", config.dump(2) + "\n");
  save_safetensors(folder / "model.safetensors", weights);
}

void save_checkpoint(TrainOptions options, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                     const std::string& trainer_state, uint64_t rows_fingerprint) {
  const fs::path output_dir = options.output_dir;
  write_folder_atomically(checkpoint_folder(output_dir, step), [&](const fs::path& folder) {
    save_model(model, folder);
    NamedTensors state = {{"exp_avg", optimiser.first_moment()}, {"exp_avg_sq", optimiser.second_moment()}};
    if (model.bf16_storage) state["master"] = optimiser.parameters().values();
    save_safetensors(folder / "optimizer.safetensors", state);
    write_text(folder / "trainer_state.json", trainer_state);
    write_text(folder / "training_state.json",
               Json{{"step", step}, {"rows", rows_fingerprint}, {"options", to_json(options)}}.dump(2) + "\n");
  });
  if (options.save_total_limit == 0) return;
  std::vector<int64_t> steps = checkpoints_of(output_dir);
  std::erase_if(steps, [&](int64_t other) { return other > step; });
  for (size_t i = 0; i + size_t(options.save_total_limit) < steps.size(); ++i)
    fs::remove_all(checkpoint_folder(output_dir, steps[i]));
}

std::optional<FoundCheckpoint> find_checkpoint(TrainOptions options, uint64_t rows_fingerprint) {
  const std::string wanted = options.resume_from;
  const fs::path output_dir = options.output_dir;
  const std::vector<int64_t> steps = checkpoints_of(output_dir);
  FoundCheckpoint found;
  found.step = steps.empty() ? -1 : steps.back();
  if (wanted == "none" && found.step >= 0)
    fail(
        Exit::usage, options.output_dir, ": has checkpoint-", found.step,
        " of an earlier run; go on with --resume_from auto, or delete its checkpoints, or choose another --output_dir");
  if (wanted == "none" || (wanted == "auto" && found.step < 0)) return std::nullopt;
  if (wanted != "auto") found.step = step_of(std::string(kPrefix) + wanted);
  if (found.step < 0) fail(Exit::usage, "--resume_from ", wanted, ": expected auto, none or the number of a step");
  found.folder = checkpoint_folder(output_dir, found.step);
  const fs::path file = found.folder / "training_state.json";
  const nlohmann::json state = read_json(file);
  const Json now = to_json(std::move(options));
  if (!state.is_object() || !state.contains("options"))
    fail(Exit::data, file.string(), ": not the state of a training run");
  if (state.value("rows", uint64_t(0)) != rows_fingerprint)
    fail(Exit::data, file.string(),
         ": the checkpoint was written with other training rows; start anew: delete the checkpoints or choose another "
         "--output_dir");
  for (const auto& [name, value] : now.items())
    if (!may_differ(name) && nlohmann::json(value) != state["options"].value(name, nlohmann::json()))
      fail(Exit::data, file.string(), ": the checkpoint was written with --", name, " ",
           state["options"].value(name, nlohmann::json()).dump(), ", now it is ", value.dump(),
           "; go on with the same options, or start anew: delete the checkpoints or choose another --output_dir");
  return found;
}

void restore_optimiser(const FoundCheckpoint& checkpoint, AdamW& optimiser, TrainedParameters& parameters) {
  const fs::path file = checkpoint.folder / "optimizer.safetensors";
  const NamedTensors moments = load_safetensors(file);
  if (!moments.contains("exp_avg") || !moments.contains("exp_avg_sq"))
    fail(Exit::data, file.string(), ": expected exp_avg and exp_avg_sq");
  optimiser.restore(moments.at("exp_avg"), moments.at("exp_avg_sq"), checkpoint.step);
  if (!parameters.bf16_storage()) return;
  if (!moments.contains("master"))
    fail(Exit::data, file.string(), ": expected master, the f32 weights behind bf16 ones");
  parameters.restore_masters(moments.at("master"));
}

}  // namespace vlm2vec
