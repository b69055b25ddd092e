#include "mmeb/training/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "nn/peft.h"
#include "nn/state.h"
#include "vlm/model_folder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPrefix = "checkpoint-", kLatest = "checkpoint-latest";

Json to_json(TrainOptions options) {
  Json json;
  options.fields([&](const char* name, auto& value, const char*) { json[name] = value; });
  return json;
}

// Returns the step in "checkpoint-120"; −1 for other names, also "checkpoint-0120".
int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return -1;
  const std::string number = name.substr(kPrefix.size());
  int64_t step = -1;
  std::from_chars(number.data(), number.data() + number.size(), step);
  return step >= 0 && std::to_string(step) == number ? step : -1;
}

// Options that may differ when a run is resumed: they do not change the result. Rows and the base model are compared by
// content, not by path.
bool may_differ(const std::string& name) {
  static const std::set<std::string> names = {
      "output_dir", "resume_from", "save_steps", "save_minutes", "save_total_limit", "logging_steps", "report_to",
      "save_strategy", "overwrite_output_dir", "logging_dir", "adapter_names", "run_name", "gc_q_chunk_size",
      "gc_p_chunk_size", "gc_tokens", "gc_keep_tapes", "gradient_checkpointing", "model_name", "dataset_name",
      "dataset_config", "data_basedir", "train_file", "image_dir", "batches", "missing_sets"};
  return names.contains(name);
}

// True for two spellings of one folder.
bool same_place(const nlohmann::json& a, const nlohmann::json& b) {
  const auto place = [](const nlohmann::json& path) {
    return fs::weakly_canonical(fs::absolute(path.get<std::string>()) / "");
  };
  return a.is_string() && b.is_string() && a != "" && b != "" && place(a) == place(b);
}

// Narrows to bf16 without loss: vectors are rounded to bf16, but computed with in f32.
Tensor narrowed(const Tensor& t) {
  if (t.dtype() != DType::f32) return t;
  const Tensor narrow = t.to(DType::bf16), wide = narrow.to(DType::f32).to(Device::cpu), whole = t.to(Device::cpu);
  return std::memcmp(wide.raw(), whole.raw(), size_t(t.bytes())) == 0 ? narrow : t;
}

constexpr const char *kState = "training_state.json", *kOptionsFile = "training_options.json";

std::string state_of(const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser) {
  Json state{{"step", step},
             {"optimiser_steps", optimiser.steps()},
             {"rows", run.rows},
             {"base_model", run.base_model},
             {"device", origin_of(run.device)},
             {"options", to_json(run.options)}};
  if (model.logit_scale)
    state["temperature"] = model.logit_scale->temperature(), state["logit_scale"] = model.logit_scale->state();
  return state.dump(2) + "\n";
}

struct State {
  int64_t step = 0, optimiser_steps = 0;  // the optimiser skips steps without pairs
  uint64_t rows = 0;
  std::string base_model, device;
  std::map<std::string, nlohmann::json> options;
  std::vector<double> logit_scale;
};

State read_state(const fs::path& file) {
  const nlohmann::json state = read_json(file);
  try {
    return {state.at("step"),       state.at("optimiser_steps"),      state.at("rows"),
            state.at("base_model"), state.value("device", "cpu"), state.at("options"),
            state.value("logit_scale", std::vector<double>())};
  } catch (const nlohmann::json::exception& error) {
    fail(Exit::data, file.string(), ": is not the state of a training run; ", reason_of(error));
  }
}

// Returns checkpoints by step; checkpoint-N comes after checkpoint-latest of the same step.
std::vector<FoundCheckpoint> checkpoints_of(const fs::path& output_dir) {
  std::vector<FoundCheckpoint> found;
  if (!fs::is_directory(output_dir)) return found;
  if (const fs::path latest = output_dir / kLatest; fs::exists(latest / kState))
    found.push_back({latest, read_state(latest / kState).step});
  for (const auto& entry : fs::directory_iterator(output_dir))
    if (const int64_t step = step_of(entry.path().filename().string()); step >= 0 && fs::exists(entry.path() / kState))
      found.push_back({entry.path(), step});
  std::ranges::stable_sort(found, {}, &FoundCheckpoint::step);
  return found;
}

bool is_latest(const FoundCheckpoint& checkpoint) { return checkpoint.folder.filename() == kLatest; }

// Says how to train beyond the planned steps: this needs another schedule, so another run that starts from the weights.
std::string training_on(const FoundCheckpoint& checkpoint, const TrainOptions& o) {
  const std::string run = "train on from its weights, with another --output_dir and a new schedule: ",
                    folder = checkpoint.folder.string();
  if (!o.lora && o.adapter.empty()) return run + "--model_name " + folder;
  return run + "--adapter " + folder + ", without --lora_r, --lora_alpha, --lora_dropout and --lora_target_modules";
}

bool has_weights(const fs::path& folder) {
  return fs::exists(folder / "model.safetensors") || fs::exists(folder / "adapter_model.safetensors");
}

}  // namespace

void save_model(const TrainedModel& model, const fs::path& folder) {
  if (model.lora) {
    save_adapter(*model.lora, folder, model.base_model, model.adapter_names);
    model.encoder->processor.write_adapter_files(folder);
    return;
  }
  model.encoder->processor.write_configuration(folder);
  NamedTensors weights = state_dict(*model.encoder->backbone);
  if (model.bf16_storage)
    for (auto& [name, weight] : weights) weight = narrowed(weight);
  const bool all_bf16 =
      std::all_of(weights.begin(), weights.end(), [](const auto& w) { return w.second.dtype() == DType::bf16; });
  Json config = Json::parse(read_text(folder / "config.json"));
  // Trained weights have this type, whatever the base model's type; newer configurations call it dtype.
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = all_bf16 ? "bfloat16" : "float32";
  write_text(folder / "config.json", config.dump(2) + "\n");
  save_safetensors(folder / "model.safetensors", weights);
}

namespace {

void remove_earlier(const fs::path& output_dir, int64_t step, size_t limit) {
  std::vector<FoundCheckpoint> earlier = checkpoints_of(output_dir);
  std::erase_if(earlier, [&](const FoundCheckpoint& other) { return other.step > step; });
  for (const FoundCheckpoint& other : earlier)
    if (is_latest(other)) remove_folder(other.folder);
  std::erase_if(earlier, is_latest);
  for (size_t i = 0; limit > 0 && i + limit < earlier.size(); ++i) remove_folder(earlier[i].folder);
}

}  // namespace

void save_run(Save what, const RunIdentity& run, int64_t step, const TrainedModel& model, const AdamW& optimiser,
              const std::string& trainer_state) {
  const fs::path output_dir = run.options.output_dir, latest = output_dir / kLatest;
  const auto write = [&](const fs::path& folder) {
    save_model(model, folder);
    NamedTensors state = {{"exp_avg", optimiser.first_moment()}, {"exp_avg_sq", optimiser.second_moment()}};
    if (model.bf16_storage) state["master"] = optimiser.parameters().values();
    if (what != Save::finished) save_safetensors(folder / "optimizer.safetensors", state);
    write_text(folder / "trainer_state.json", trainer_state);
    write_text(folder / kState, state_of(run, step, model, optimiser));
  };
  if (what == Save::latest) return write_folder_atomically(latest, write);
  if (what == Save::finished) {
    write(output_dir);
    return remove_folder(latest);
  }
  write_folder_atomically(output_dir / (std::string(kPrefix) + std::to_string(step)), write);
  remove_earlier(output_dir, step, size_t(run.options.save_total_limit));
}

void begin_run(const RunIdentity& run, int64_t first) {
  const TrainOptions& o = run.options;
  const fs::path output_dir = o.output_dir;
  fs::remove(output_dir / kState);
  const bool anew = first == 0 && o.overwrite_output_dir;
  for (const FoundCheckpoint& checkpoint : checkpoints_of(output_dir))
    if (anew || (is_latest(checkpoint) && checkpoint.step > first)) remove_folder(checkpoint.folder);
  std::set<std::string> earlier = configuration_files();
  earlier.insert({"model.safetensors", "adapter_model.safetensors", "adapter_config.json", "trainer_state.json",
                  "report.html"});
  if (anew && (has_weights(output_dir) || fs::exists(output_dir / kOptionsFile)))
    for (const std::string& name : earlier) fs::remove(output_dir / name);
  Json options = to_json(o);
  options["device"] = origin_of(run.device);
  options["working_directory"] = fs::current_path().string();  // relative paths start here
  if (!run.missing_sets.empty()) options["left_out_sets"] = run.missing_sets;
  write_text(output_dir / kOptionsFile, options.dump(2) + "\n");
}

std::string require_same_run(const FoundCheckpoint& checkpoint, const RunIdentity& run) {
  const std::string file = checkpoint.folder / kState,
                    anew = "start anew: --resume_from none --overwrite_output_dir True, or another --output_dir";
  const State state = read_state(file);
  const Json now = to_json(run.options);
  const nlohmann::json defaults = to_json(TrainOptions());
  const auto require_same = [&](const std::string& name, const Json& value) {
    const auto found = state.options.find(name);
    const nlohmann::json then =
        found == state.options.end() ? defaults.at(name) : found->second;  // an option newer than the file
    if (!may_differ(name) && nlohmann::json(value) != then && !(name == "adapter" && same_place(value, then)) &&
        !(name == "bad_rows" && value == "skip"))  // no row has been bad so far
      fail(Exit::usage, file, ": was written with --", name, " ", then.dump(), ", now it is ", value.dump(),
           "; continue with the same options, or ",
           name == "max_steps" || name == "num_train_epochs" ? training_on(checkpoint, run.options) : anew);
  };
  for (const char* what : {"lora", "adapter"}) require_same(what, now[what]);  // other options follow from these
  for (const auto& [name, value] : now.items()) require_same(name, value);
  if (state.rows != run.rows) fail(Exit::data, file, ": was written with other training rows; ", anew);
  if (!run.base_model.empty() && !state.base_model.empty() && state.base_model != run.base_model)
    fail(Exit::data, file, ": was written with another base model; ",
         same_place(state.options.at("model_name"), run.options.model_name)
             ? "the files of " + run.options.model_name + " have changed since"
             : sentence("--model_name was ", state.options.at("model_name"), ", now it is ", run.options.model_name),
         "; ", anew);
  const std::string device = origin_of(run.device);
  return state.device == device ? ""
                                : sentence("train: ", file, ": was written on ", state.device, "; on ", device,
                                           " the run goes on, but not with the bits that it would have had there");
}

std::optional<FoundCheckpoint> find_checkpoint(const TrainOptions& o) {
  const fs::path output_dir = o.output_dir;
  const std::vector<FoundCheckpoint> found = checkpoints_of(output_dir);
  const bool weights = has_weights(output_dir), finished = weights && fs::exists(output_dir / kState);
  if (o.resume_from == "none") {
    if (!o.overwrite_output_dir && (weights || !found.empty()))
      fail(Exit::usage, o.output_dir, ": has ", weights ? "the weights" : found.back().folder.filename().string(),
           " of an earlier run; continue it with --resume_from auto, replace it with --overwrite_output_dir True, or "
           "choose another --output_dir");
    return std::nullopt;
  }
  if (o.resume_from == "auto") {
    if (finished) return FoundCheckpoint{output_dir, read_state(output_dir / kState).step, true};
    if (found.empty() && weights)
      fail(Exit::usage, o.output_dir, ": has weights but neither checkpoints nor ", kState,
           "; choose another --output_dir, or replace them with --resume_from none --overwrite_output_dir True");
    if (found.empty()) return std::nullopt;
    return found.back();
  }
  const int64_t wanted = step_of(std::string(kPrefix) + o.resume_from);
  if (wanted < 0) fail(Exit::usage, "--resume_from ", o.resume_from, ": expected auto, none or the number of a step");
  const auto place = std::ranges::find(found.rbegin(), found.rend(), wanted, &FoundCheckpoint::step);
  if (place != found.rend()) return *place;
  std::string list;
  for (const FoundCheckpoint& checkpoint : found)
    list += (list.empty() ? "; there are steps " : ", ") + std::to_string(checkpoint.step);
  fail(Exit::usage, "--resume_from ", o.resume_from, ": ", o.output_dir, " has no checkpoint-", wanted,
       list.empty() ? " and no other checkpoint" : list);
}

std::string kept_checkpoint(const fs::path& output_dir) {
  const std::vector<FoundCheckpoint> found = checkpoints_of(output_dir);
  return found.empty() ? "" : found.back().folder.string();
}

int64_t replaceable_bytes(const TrainOptions& o) {
  const fs::path output_dir = o.output_dir;
  const bool anew = o.resume_from == "none" && o.overwrite_output_dir;
  std::vector<fs::path> folders;
  for (const FoundCheckpoint& checkpoint : checkpoints_of(output_dir))
    if (anew || is_latest(checkpoint)) folders.push_back(checkpoint.folder);
  if (anew && fs::is_directory(output_dir)) folders.push_back(output_dir);
  int64_t bytes = 0;
  for (const fs::path& folder : folders)
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".safetensors") bytes += int64_t(entry.file_size());
  return bytes;
}

void restore_optimiser(const FoundCheckpoint& checkpoint, TrainedModel& model, AdamW& optimiser,
                       TrainedParameters& parameters) {
  const fs::path file = checkpoint.folder / "optimizer.safetensors";
  const NamedTensors moments = load_safetensors(file);
  if (!moments.contains("exp_avg") || !moments.contains("exp_avg_sq"))
    fail(Exit::data, file.string(), ": expected exp_avg and exp_avg_sq");
  const State state = read_state(checkpoint.folder / kState);
  optimiser.restore(moments.at("exp_avg"), moments.at("exp_avg_sq"), state.optimiser_steps);
  if (model.logit_scale && state.logit_scale.size() != 3)
    fail(Exit::data, (checkpoint.folder / kState).string(), ": logit_scale has ", state.logit_scale.size(),
         " numbers, expected 3: its value and two moments");
  if (model.logit_scale) model.logit_scale->restore(state.logit_scale, state.optimiser_steps);
  if (!parameters.bf16_storage()) return;
  if (!moments.contains("master"))
    fail(Exit::data, file.string(), ": expected master, the f32 weights behind bf16 ones");
  parameters.restore_masters(moments.at("master"));
}

}  // namespace vlm2vec
