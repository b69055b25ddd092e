#include "mmeb/training/checkpoint.h"

#include <algorithm>
#include <charconv>
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

// The step in "checkpoint-120"; −1 for other names, "checkpoint-0120" among them.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return -1;
  const std::string number = name.substr(kPrefix.size());
  int64_t step = -1;
  std::from_chars(number.data(), number.data() + number.size(), step);
  return step >= 0 && std::to_string(step) == number ? step : -1;
}

// Options that may differ between the run that wrote a checkpoint and the one that goes on: where and how, not what.
bool may_differ(const std::string& name) {
  static const std::set<std::string> names = {"output_dir",
                                              "resume_from",
                                              "save_steps",
                                              "save_total_limit",
                                              "logging_steps",
                                              "report_to",
                                              "save_strategy",
                                              "overwrite_output_dir",
                                              "logging_dir",
                                              "run_name",
                                              "gc_q_chunk_size",
                                              "gc_p_chunk_size",
                                              "gradient_checkpointing"};
  return names.contains(name);
}

// Of an option that names a file or folder: two spellings of one.
bool same_place(const std::string& name, const nlohmann::json& a, const nlohmann::json& b) {
  static const std::set<std::string> places = {"model_name", "adapter",   "dataset_name", "dataset_config",
                                               "train_file", "image_dir", "data_basedir", "batches"};
  const auto place = [](const nlohmann::json& path) {
    return fs::weakly_canonical(fs::absolute(path.get<std::string>()) / "");
  };
  return places.contains(name) && a.is_string() && b.is_string() && !a.empty() && a != "" && b != "" &&
         place(a) == place(b);
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

constexpr const char* kState = "training_state.json";

std::string state_of(const RunIdentity& run, int64_t step) {
  return Json{{"step", step}, {"rows", run.rows}, {"base_model", run.base_model}, {"options", to_json(run.options)}}
             .dump(2) +
         "\n";
}

struct State {
  int64_t step = 0;
  uint64_t rows = 0;
  std::string base_model;
  std::map<std::string, nlohmann::json> options;
};

State read_state(const fs::path& file) {
  const nlohmann::json state = read_json(file);
  try {
    return {state.at("step"), state.at("rows"), state.at("base_model"), state.at("options")};
  } catch (const nlohmann::json::exception& error) {
    fail(Exit::data, file.string(), ": not the state of a training run; ", reason_of(error));
  }
}

bool has_weights(const fs::path& folder) {
  return fs::exists(folder / "model.safetensors") || fs::exists(folder / "adapter_model.safetensors");
}

}  // namespace

void save_model(const TrainedModel& model, const fs::path& folder) {
  if (model.lora) {
    save_adapter(*model.lora, folder, model.base_model);
    model.encoder->write_adapter_files(folder);
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

void save_checkpoint(const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
                     const std::string& trainer_state) {
  const fs::path output_dir = run.options.output_dir;
  write_folder_atomically(checkpoint_folder(output_dir, step), [&](const fs::path& folder) {
    save_model(model, folder);
    NamedTensors state = {{"exp_avg", optimiser.first_moment()}, {"exp_avg_sq", optimiser.second_moment()}};
    if (model.bf16_storage) state["master"] = optimiser.parameters().values();
    save_safetensors(folder / "optimizer.safetensors", state);
    write_text(folder / "trainer_state.json", trainer_state);
    write_text(folder / kState, state_of(run, step));
  });
  const int64_t limit = run.options.save_total_limit;
  if (limit == 0) return;
  std::vector<int64_t> steps = checkpoints_of(output_dir);
  std::erase_if(steps, [&](int64_t other) { return other > step; });
  for (size_t i = 0; i + size_t(limit) < steps.size(); ++i) fs::remove_all(checkpoint_folder(output_dir, steps[i]));
}

void save_finished(const RunIdentity& run, int64_t step, const TrainedModel& model, const std::string& trainer_state) {
  const fs::path output_dir = run.options.output_dir;
  save_model(model, output_dir);
  write_text(output_dir / "trainer_state.json", trainer_state);
  write_text(output_dir / kState, state_of(run, step));
}

void begin_run(const RunIdentity& run, bool goes_on) {
  const TrainOptions& o = run.options;
  const fs::path output_dir = o.output_dir;
  fs::remove(output_dir / kState);
  if (!goes_on && o.overwrite_output_dir) {
    for (const int64_t step : checkpoints_of(output_dir)) fs::remove_all(checkpoint_folder(output_dir, step));
    for (const char* name :
         {"model.safetensors", "adapter_model.safetensors", "adapter_config.json", "trainer_state.json"})
      fs::remove(output_dir / name);
  }
  write_text(output_dir / "training_options.json", to_json(o).dump(2) + "\n");
}

void require_same_run(const FoundCheckpoint& checkpoint, const RunIdentity& run) {
  const std::string file = checkpoint.folder / kState,
                    anew = "start anew: --resume_from none --overwrite_output_dir True, or another --output_dir";
  const State state = read_state(file);
  if (state.rows != run.rows) fail(Exit::data, file, ": was written with other training rows; ", anew);
  if (state.base_model != run.base_model)
    fail(Exit::data, file, ": was written with another base model; ", run.options.model_name, " has other files now; ",
         anew);
  const Json now = to_json(run.options);
  for (const auto& [name, value] : now.items()) {
    const auto found = state.options.find(name);
    const nlohmann::json then = found == state.options.end() ? nlohmann::json() : found->second;
    if (!may_differ(name) && nlohmann::json(value) != then && !same_place(name, value, then) &&
        !(name == "bad_rows" && value == "skip"))  // until now no row was bad
      fail(Exit::data, file, ": was written with --", name, " ", then.dump(), ", now it is ", value.dump(),
           "; go on with the same options, or ", anew,
           name == "max_steps" ? ", which may begin with these weights (--model_name)" : "");
  }
}

std::optional<FoundCheckpoint> find_checkpoint(const TrainOptions& o) {
  const fs::path output_dir = o.output_dir;
  const std::vector<int64_t> steps = checkpoints_of(output_dir);
  const bool weights = has_weights(output_dir), finished = weights && fs::exists(output_dir / kState);
  if (o.resume_from == "none") {
    if (!o.overwrite_output_dir && (weights || !steps.empty()))
      fail(Exit::usage, o.output_dir, ": has ", weights ? "the weights" : sentence("checkpoint-", steps.back()),
           " of an earlier run; go on with --resume_from auto, replace it with --overwrite_output_dir True, or choose "
           "another --output_dir");
    return std::nullopt;
  }
  if (o.resume_from == "auto") {
    if (finished) return FoundCheckpoint{output_dir, read_state(output_dir / kState).step, true};
    if (steps.empty() && weights)
      fail(Exit::usage, o.output_dir, ": has weights and neither checkpoints nor ", kState,
           "; choose another --output_dir, or replace them with --resume_from none --overwrite_output_dir True");
    if (steps.empty()) return std::nullopt;
  }
  const int64_t wanted = o.resume_from == "auto" ? steps.back() : step_of(std::string(kPrefix) + o.resume_from);
  if (wanted < 0) fail(Exit::usage, "--resume_from ", o.resume_from, ": expected auto, none or the number of a step");
  if (std::find(steps.begin(), steps.end(), wanted) == steps.end()) {
    std::string list;
    for (const int64_t step : steps) list += (list.empty() ? "; there are steps " : ", ") + std::to_string(step);
    fail(Exit::usage, "--resume_from ", o.resume_from, ": ", o.output_dir, " has no checkpoint-", wanted,
         list.empty() ? ", and no other" : list);
  }
  return FoundCheckpoint{checkpoint_folder(output_dir, wanted), wanted};
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
