#include "vlm/model_folder.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/hub.h"
#include "io/safetensors.h"
#include "io/text.h"
#include "vlm/processor_files.h"
#include "vlm/sentence_transformers.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::set<std::string> kProcessorFiles = {"preprocessor_config.json", "processor_config.json",
                                               "video_preprocessor_config.json"};
const std::set<std::string> kTokenizerFiles = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt",     "tokenizer.model",       "spiece.model",            "vocab.txt"};
const std::set<std::string> kTemplateFiles = {"chat_template.json", "chat_template.jinja"};
const std::set<std::string> kModelFiles = {"config.json", "generation_config.json"};

bool has_adapter_tensors(const fs::path& folder) {
  return fs::exists(folder / "adapter_model.safetensors") || fs::exists(folder / "adapter_model.bin");
}

// True for weights in any format, readable here or not.
bool is_weights_file(const std::string& name) {
  const std::string kind = fs::path(name).extension();
  if (kind == ".safetensors") return name != "adapter_model.safetensors" && name != "optimizer.safetensors";
  if (kind == ".bin") return name.starts_with("pytorch_model") || name.starts_with("open_clip_pytorch_model");
  if (kind == ".pth") return true;
  return kind == ".gguf" || kind == ".h5" || kind == ".msgpack";
}

// Returns the files of the index; all must be present.
std::set<std::string> shards_of(const fs::path& folder, const fs::path& index) {
  std::set<std::string> files;
  for (const auto& [tensor, file] : read_weight_map(index)) files.insert(file);
  std::vector<std::string> missing;
  for (const std::string& file : files)
    if (!fs::exists(folder / file)) missing.push_back(file);
  if (!missing.empty())
    fail(Exit::data, index.string(), ": ", listed(missing), missing.size() == 1 ? " is" : " are", " not there, of ",
         files.size(), " files that it names", download_hint(folder, missing[0]), "; download what is missing");
  return files;
}

[[noreturn]] void refuse_without_weights(const fs::path& folder, const std::vector<std::string>& others) {
  const auto is_shard = [](auto& name) { return name.starts_with("model-0") || name.starts_with("pytorch_model-0"); };
  const auto shard = std::ranges::find_if(others, is_shard);
  if (shard != others.end())
    fail(Exit::data, folder.string(), ": has ", *shard, " but no ",
         shard->starts_with("model") ? kWeightsIndex : kTorchIndex, ", which says what lies where",
         download_hint(folder, ""), "; download it, too");
  if (others.empty())
    fail(Exit::data, folder.string(), ": has neither ", kWeightsFile, " nor ", kWeightsIndex,
         download_hint(folder, fs::is_symlink(folder / kWeightsFile) ? kWeightsFile : ""));
  fail(Exit::data, folder.string(), ": has no ", kWeightsFile, ", only ", listed(others),
       ", which is not read; download the model in the layout of Hugging Face's transformers");
}

void find_weights(ModelFolder& model, const std::vector<std::string>& others) {
  const WeightsFile found = weights_file(model.path);
  if (found.name.empty()) refuse_without_weights(model.path, others);
  std::set<std::string> used = {found.name};
  if (found.is_index) model.index = model.path / found.name, used = shards_of(model.path, model.index);
  std::vector<std::string> unused;
  for (const std::string& name : used) model.weights.push_back(model.path / name);
  for (const std::string& name : others)
    if (!used.contains(name)) unused.push_back(name);
  for (const char* index : {kWeightsIndex, kTorchIndex})
    if (index != found.name && fs::exists(model.path / index)) unused.push_back(index);
  if (!unused.empty())
    model.notes.push_back(model.path.string() + ": " + listed(unused) + (unused.size() == 1 ? " is" : " are") +
                          " not used; the weights are " +
                          (found.is_index ? "the files of " + found.name : found.name));
}

[[noreturn]] void refuse_adapter(const fs::path& folder) {
  const json config = read_json(folder / "adapter_config.json");
  const json base = config.is_object() ? config.value("base_model_name_or_path", json()) : json();
  fail(Exit::data, folder.string(), ": is an adapter; name it with --adapter and its base model",
       base.is_string() && base != "" ? " (" + base.get<std::string>() + ")" : "", " with --model_name");
}

[[noreturn]] void refuse_without_config(const fs::path& folder) {
  std::string below;  // checkpoint-100 wins over checkpoint-90
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable))
    if (fs::exists(entry.path() / "config.json", unreadable))
      below = std::max(below, entry.path().string(), [](const std::string& a, const std::string& b) {
        return std::pair(a.size(), a) < std::pair(b.size(), b);
      });
  fail(Exit::data, folder.string(), ": has no config.json; expected a Hugging Face checkpoint",
       download_hint(folder, fs::is_symlink(folder / "config.json") ? "config.json" : ""),
       below.empty() ? "" : "; " + below + " has one");
}

bool has_own_adapter(const fs::path& folder) {
  const bool config = fs::exists(folder / "adapter_config.json");
  if (!config && has_adapter_tensors(folder))
    fail(Exit::data, folder.string(), ": has an adapter's tensors beside the weights, but no adapter_config.json that ",
         "says how to apply them; add it, or remove the adapter's file");
  return config;
}

// Makes the files of these names in `folder` the ones that count.
void take(ModelFolder& model, const fs::path& folder, const std::set<std::string>& names) {
  for (const std::string& name : names)
    if (model.configuration.erase(name); fs::exists(folder / name)) model.configuration[name] = folder / name;
}

void find_processor(ModelFolder& model) {
  const bool own_layout = model.config.filename() != "config.json";
  const fs::path own = own_layout ? model.config : processor_file(model.path);
  model.processor = own;
  if (const fs::path theirs = model.adapter.empty() ? fs::path() : processor_file(model.adapter);
      !theirs.empty() && theirs != own) {
    model.processor = theirs;
    take(model, model.adapter, kProcessorFiles);
  }
  if (model.processor.empty())
    fail(Exit::data, model.path.string(), ": has neither processor_config.json with an image_processor nor ",
         "preprocessor_config.json", download_hint(model.path, ""), "; copy that of the model it was made from");
  const Family& family = family_of(model.config);
  const auto used = read_processor_settings(model.processor, family);
  const auto note_other = [&](const fs::path& other, const std::string& why) {
    std::string difference = " is; this one cannot be read";
    try {
      auto settings = read_processor_settings(other, family);
      if (std::string& word = settings.image_positions; word.empty()) word = used.image_positions;
      const std::string unlike = used.unlike(settings);
      if (unlike.empty()) return;
      difference = ", has " + unlike + ", this one has " + settings.unlike(used);
    } catch (const Error&) {  // an unused file may be anything
    }
    model.notes.push_back(other.string() + " is not used: " + why + ", " + model.processor.string() + difference);
  };
  if (model.processor != own && !own.empty()) note_other(own, "the adapter's own file");
  const auto old = model.configuration.find("preprocessor_config.json");
  if (old != model.configuration.end() && old->second != model.processor) note_other(old->second, "the newer file");
}

void find_tokenizer(ModelFolder& model) {
  model.tokenizer_folder = model.path;
  if (const json named = read_json(model.config).value("tokenizer", json()); named.is_string()) {  // of UniIR
    model.tokenizer_folder = (model.path / named.get<std::string>()).parent_path();
    take(model, model.tokenizer_folder, kTokenizerFiles);
  }
  if (model.adapter.empty() || model.adapter == model.path || !has_tokenizer(model.adapter)) return;
  const bool same = fs::exists(model.path / "tokenizer.json") && fs::exists(model.adapter / "tokenizer.json") &&
                    read_text(model.path / "tokenizer.json") == read_text(model.adapter / "tokenizer.json");
  model.tokenizer_folder = model.adapter;
  take(model, model.adapter, kTokenizerFiles);
  const auto is_there = [&](const std::string& name) { return fs::exists(model.adapter / name); };
  if (std::ranges::any_of(kTemplateFiles, is_there)) take(model, model.adapter, kTemplateFiles);
  if (!same) model.notes.push_back(model.adapter.string() + ": its tokenizer takes the place of the model's");
}

}  // namespace

const std::set<std::string>& configuration_files() {
  static const std::set<std::string> all = [] {
    std::set<std::string> names;
    for (const auto& some : {kModelFiles, kProcessorFiles, kTokenizerFiles, kTemplateFiles})
      names.insert(some.begin(), some.end());
    return names;
  }();
  return all;
}

const std::set<std::string>& processor_files() { return kProcessorFiles; }

const std::set<std::string>& tokenizer_files() {
  static const std::set<std::string> all = [] {
    std::set<std::string> names = kTokenizerFiles;
    names.insert(kTemplateFiles.begin(), kTemplateFiles.end());
    return names;
  }();
  return all;
}

bool has_tokenizer(const fs::path& folder) {
  const auto is_there = [&](const char* name) { return fs::exists(folder / name); };
  constexpr std::array files = {"tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt"};
  return std::ranges::any_of(files, is_there);
}

void ModelFolder::require_one_adapter() const {
  if (own_adapter && !fs::equivalent(path, adapter))
    fail(Exit::data, path.string(), ": has an adapter beside its weights, and --adapter names another, ",
         adapter.string(),
         "; move adapter_config.json and the adapter's tensors out of the model's folder, or leave out ", "--adapter");
}

ModelFolder look_at_model_folder(const fs::path& path, const fs::path& adapter, bool without_weights) {
  require_folder(path, "a Hugging Face checkpoint");
  if (!adapter.empty()) require_folder(adapter, "a PEFT adapter");
  std::vector<std::string> weights;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(path))
    if (const std::string name = entry.path().filename(); is_weights_file(name) && entry.exists(unreadable))
      weights.push_back(name);
  std::ranges::sort(weights);
  if (fs::exists(path / "adapter_config.json") && weights.empty()) refuse_adapter(path);
  const fs::path config = config_file_in(path);
  if (!fs::exists(config)) refuse_without_config(path);
  ModelFolder model{path, config, adapter, has_own_adapter(path)};
  if (adapter.empty() && model.own_adapter) model.adapter = path;
  take(model, path, configuration_files());
  check_sentence_transformers(path, model.notes);
  if (!without_weights) find_weights(model, weights);
  find_processor(model);
  find_tokenizer(model);
  return model;
}

}  // namespace vlm2vec
