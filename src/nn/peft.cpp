#include "nn/peft.h"

#include <map>
#include <set>

#include "nn/peft_config.h"
#include "nn/state.h"
#include "tensor/io/files.h"
#include "tensor/io/hub.h"
#include "tensor/io/torch_file.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFolderPrefix = "base_model.model.";

// The tensors of one adapted layer.
struct StoredModule {
  Tensor a, b, magnitude;
};
struct StoredAdapter {
  fs::path file;
  std::map<std::string, StoredModule> modules;  // by the layer's path, in the old spelling
  bool nested_names = false;
};

StoredAdapter read_tensors(const fs::path& folder) {
  StoredAdapter stored;
  stored.file = folder / "adapter_model.safetensors";
  const bool pickled = !fs::exists(stored.file);
  if (pickled) stored.file = folder / "adapter_model.bin";
  if (!fs::exists(stored.file))
    fail(Exit::data, folder.string(), ": neither adapter_model.safetensors nor adapter_model.bin is there");
  for (const auto& [name, tensor] : pickled ? load_torch_file(stored.file) : load_safetensors(stored.file)) {
    const std::string path = canonical_name(name);
    const auto set = [&](std::string_view suffix, Tensor StoredModule::*part) {
      if (!path.ends_with(suffix)) return false;
      Tensor& place = stored.modules[path.substr(0, path.size() - suffix.size())].*part;
      if (place) fail(Exit::data, stored.file.string(), ": ", path, " is stored twice, in two spellings");
      if (!is_float(tensor.dtype()))
        fail(Exit::data, stored.file.string(), ": ", name, " is ", tensor, ", expected floats");
      place = tensor;
      return true;
    };
    if (!set(".lora_A.weight", &StoredModule::a) && !set(".lora_B.weight", &StoredModule::b) &&
        !set(".lora_magnitude_vector", &StoredModule::magnitude) &&
        !set(".lora_magnitude_vector.weight", &StoredModule::magnitude))
      fail(Exit::data, stored.file.string(), ": ", name, " is no LoRA tensor of a linear layer; only those are known");
    stored.nested_names |= name.find("model.language_model.") != name.npos || name.find("model.visual.") != name.npos;
  }
  return stored;
}

// "a, b, … "
std::string some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 3; ++i) text += (i ? ", " : "") + names[i];
  return names.size() > 3 ? text + ", …" : text;
}

// Errors of f begin with where they come from.
template <class F>
auto naming(const std::string& where, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    fail(e.code, where, ": ", e.what());
  }
}

void check_complete(const StoredAdapter& stored, bool dora) {
  for (const auto& [path, m] : stored.modules) {
    const char* missing = !m.a ? "lora_A" : !m.b ? "lora_B" : dora && !m.magnitude ? "lora_magnitude_vector" : nullptr;
    if (missing) fail(Exit::data, stored.file.string(), ": ", path, " has no ", missing, "; is the file complete?");
    if (m.magnitude && !dora)
      fail(Exit::data, stored.file.string(), ": ", path,
           " has a lora_magnitude_vector, but adapter_config.json does not say use_dora");
  }
}

// The targeted layers that the file has tensors for.
std::vector<Linear*> match(const std::vector<Linear*>& targeted, const StoredAdapter& stored, bool allow_partial,
                           std::vector<std::string>& notes) {
  std::vector<Linear*> layers;
  std::vector<std::string> without_tensors, without_layer;
  std::set<std::string> matched;
  for (Linear* layer : targeted)
    if (stored.modules.contains(layer->path())) layers.push_back(layer), matched.insert(layer->path());
    else without_tensors.push_back(layer->path());
  for (const auto& [path, m] : stored.modules)
    if (!matched.contains(path)) without_layer.push_back(path);
  notes.push_back(sentence("adapter: ", layers.size(), " of ", stored.modules.size(), " modules matched"));
  if ((layers.empty() || !without_tensors.empty() || !without_layer.empty()) && !allow_partial)
    fail(Exit::data, stored.file.string(), ": ", notes.back(),
         without_layer.empty() ? "" : "; no layer of this model that target_modules names is " + some(without_layer),
         without_tensors.empty() ? "" : "; target_modules names " + some(without_tensors) + ", which the file lacks",
         "; is it the adapter's base model? (--allow_partial_adapter takes what matches)");
  return layers;
}

void fill(Parameter& p, const Tensor& tensor, const Linear& layer, const fs::path& file) {
  if (tensor.shape() != p.shape())
    fail(Exit::data, file.string(), ": ", p.path(), " is ", tensor, ", this model wants ", to_string(p.shape()),
         "; is it the adapter's base model?");
  const Tensor& weight = layer.weight.value();
  p.set(tensor.to(acc_of(weight.dtype())).to(weight.device()));
}

}  // namespace

AttachedLora load_adapter(Module& model, const fs::path& folder, const AdapterOptions& options,
                          const DropoutState* dropout, std::vector<std::string>& notes) {
  require_folder(folder, "a PEFT adapter");
  const std::string config_file = folder / "adapter_config.json";
  if (!fs::exists(config_file))
    fail(Exit::data, folder.string(), ": has no adapter_config.json; expected a PEFT adapter",
         fs::exists(folder / "config.json") ? ", but this is a whole model: name it with --model_name" : "");
  LoraConfig config = read_peft_config(config_file);
  const StoredAdapter stored = read_tensors(folder);
  config.nested_names = stored.nested_names;
  check_complete(stored, config.use_dora);
  if (config.use_dora && !options.use_dora) {
    config.use_dora = false;
    notes.push_back(config_file + ": DoRA adapter read as LoRA, its magnitude vectors are dropped");
  }
  const auto targeted = naming(config_file + ": target_modules", [&] { return targeted_layers(model, config); });
  const auto layers = match(targeted, stored, options.allow_partial, notes);
  const AttachedLora lora =
      naming(config_file + ": rank_pattern or alpha_pattern", [&] { return attach_lora(layers, config, dropout); });
  for (Lora* adapter : lora.adapters) {
    const StoredModule& m = stored.modules.at(adapter->base.path());
    adapter->each_parameter([&](Parameter& p) {
      const bool a = &p == &adapter->lora_A.weight, b = &p == &adapter->lora_B.weight;
      fill(p, a ? m.a : b ? m.b : m.magnitude, adapter->base, stored.file);
    });
  }
  lora.update();
  if (options.norms)
    for (const Lora* adapter : lora.adapters)
      notes.push_back(
          sentence("adapter: ", adapter->base.path(), ": rank ", adapter->rank, ", |sBA| ", adapter->delta_norm()));
  return lora;
}

void save_adapter(const AttachedLora& lora, const fs::path& folder, const std::string& base_model) {
  fs::create_directories(folder);
  NamedTensors tensors;
  for (const Parameter* p : lora.parameters())
    tensors.emplace(kFolderPrefix + lora.config.spelled(p->path()), p->value());
  save_safetensors(folder / "adapter_model.safetensors", tensors);
  write_peft_config(lora.config, folder / "adapter_config.json", base_model);
}

}  // namespace vlm2vec
