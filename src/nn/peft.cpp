#include "nn/peft.h"

#include <algorithm>
#include <map>
#include <set>

#include "io/files.h"
#include "io/hub.h"
#include "io/text.h"
#include "nn/peft_config.h"
#include "nn/state.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// The tensors of one adapted layer.
struct StoredModule {
  Tensor a, b, magnitude;
};
struct StoredAdapter {
  fs::path file;
  std::map<std::string, StoredModule> modules;  // by the layer's path
  Spelling spelling = Spelling::hub;            // spelling of the file's names
  bool head = false;                            // the file also adapts the language-model head, which is dropped
};

// Returns the spelling of most of a file's names.
Spelling common_spelling(const std::vector<std::string>& stored, const TensorNames& names) {
  return *std::ranges::max_element(kSpellings, {}, [&](Spelling s) {
    return std::ranges::count_if(stored, [&](const auto& name) {
      return name == std::string(kPeftPrefix) + spelled(canonical_name(name, names), s, names);
    });
  });
}

StoredAdapter read_tensors(const fs::path& folder, const TensorNames& known) {
  StoredAdapter stored;
  stored.file = folder / "adapter_model.safetensors";
  const bool pickled = !fs::exists(stored.file);
  if (pickled) stored.file = folder / "adapter_model.bin";
  if (!fs::exists(stored.file))
    fail(Exit::data, folder.string(), ": has neither adapter_model.safetensors nor adapter_model.bin");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : pickled ? load_torch_file(stored.file) : load_safetensors(stored.file)) {
    names.push_back(name);
    const std::string path = canonical_name(name, known);
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
      fail(Exit::data, stored.file.string(), ": ", name, " is not a LoRA tensor of a linear layer;",
           " only those are known");
  }
  stored.head = stored.modules.erase(known.head.substr(0, known.head.rfind('.'))) > 0;
  if (stored.modules.empty()) fail(Exit::data, stored.file.string(), ": has no tensor of an adapter");
  stored.spelling = common_spelling(names, known);
  return stored;
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

// Layers that target_modules names, and layers that have tensors in the file.
struct Match {
  std::vector<Linear*> layers;                              // in both
  std::vector<std::string> without_tensors, without_layer;  // in one only
  bool whole() const { return without_tensors.empty() && without_layer.empty(); }
};

Match match(const std::vector<Linear*>& targeted, const StoredAdapter& stored) {
  Match m;
  std::set<std::string> matched;
  for (Linear* layer : targeted)
    if (stored.modules.contains(layer->path())) m.layers.push_back(layer), matched.insert(layer->path());
    else m.without_tensors.push_back(layer->path());
  for (const auto& [path, module] : stored.modules)
    if (!matched.contains(path)) m.without_layer.push_back(path);
  return m;
}

// Assumes that the configuration is spelled like the tensors, unless another spelling names exactly the file's layers:
// some scripts rename only the tensors.
Match best_match(Module& model, LoraConfig& config, const StoredAdapter& stored) {
  // AutoModel's paths are suffixes of the hub's, so automodel comes before hub.
  const Spelling tried[] = {stored.spelling, Spelling::official, Spelling::automodel, Spelling::hub};
  Match best;
  for (const Spelling spelling : tried) {
    LoraConfig read = config;
    read.spelling = spelling;
    Match m = match(targeted_layers(model, read), stored);
    if (spelling != stored.spelling && !m.whole() && m.layers.size() <= best.layers.size()) continue;
    config.spelling = spelling, best = std::move(m);
    if (best.whole()) break;
  }
  return best;
}

std::string matched(const Match& m, const StoredAdapter& stored) {
  return sentence(m.layers.size(), " of ", stored.modules.size(), " modules matched");
}

// Says whether the model has linear layers at all these paths.
bool has_layers(Module& model, std::vector<std::string> paths) {
  model.each_module([&](Module& m) {
    if (dynamic_cast<Linear*>(&m)) std::erase(paths, m.path());
  });
  return paths.empty();
}

// Says why the adapter does not fit as a whole; empty if it fits.
std::string misfit(const Match& m, const StoredAdapter& stored) {
  if (m.whole()) return "";
  const auto list = [](const char* what, const auto& names, const char* rest) {
    return names.empty() ? std::string() : what + listed(names) + rest;
  };
  return matched(m, stored) + list("; no layer of this model that target_modules names is ", m.without_layer, "") +
         list("; target_modules names ", m.without_tensors, ", which the file lacks");
}

// rank_at: the dimension of the tensor that is the rank; 2 for a magnitude vector, which has no rank.
void fill(Parameter& p, const Tensor& tensor, const Linear& layer, const fs::path& file, size_t rank_at) {
  const Shape &came = tensor.shape(), &wanted = p.shape();
  if (rank_at < 2 && came.size() == 2 && came != wanted && came[1 - rank_at] == wanted[1 - rank_at])
    fail(Exit::data, file.string(), ": ", p.path(), " has rank ", came[rank_at], ", adapter_config.json gives it ",
         wanted[rank_at], " (r or rank_pattern); do the two files belong together?");
  if (came != wanted)
    fail(Exit::data, file.string(), ": ", p.path(), " is ", tensor, ", this model needs ", to_string(p.shape()),
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
  const StoredAdapter stored = read_tensors(folder, model.names());
  check_complete(stored, config.use_dora);
  if (config.use_dora && !options.use_dora) {
    config.use_dora = false;
    notes.push_back(config_file + ": DoRA adapter read as LoRA, its magnitude vectors are dropped");
  }
  const Match found = naming([&] { return best_match(model, config, stored); }, config_file);
  const std::string problem = misfit(found, stored);
  if (found.layers.empty() || (!problem.empty() && !options.allow_partial))
    fail(Exit::data, stored.file.string(), ": ", problem,
         has_layers(model, found.without_layer) ? "; do adapter_config.json and the tensors belong together?"
                                                : "; is it the adapter's base model?",
         found.layers.empty() ? "" : " (--allow_partial_adapter takes what matches)");
  AttachedLora lora = naming([&] { return attach_lora(model, found.layers, config, dropout); }, config_file);
  if (stored.head)
    notes.push_back(stored.file.string() +
                    ": the adapter of the language-model head is not used: embeddings need none");
  if (problem.empty()) notes.push_back("adapter: " + matched(found, stored));
  else lora.warning = "adapter: " + problem + "; ignored";
  for (const std::string& entry : lora.dead_entries) notes.push_back(config_file + ": " + entry + "; ignored");
  for (Lora* adapter : lora.adapters) {
    const StoredModule& m = stored.modules.at(adapter->base.path());
    adapter->each_parameter([&](Parameter& p) {
      const bool a = &p == &adapter->lora_A.weight, b = &p == &adapter->lora_B.weight;
      fill(p, a ? m.a : b ? m.b : m.magnitude, adapter->base, stored.file, a ? 0 : b ? 1 : 2);
    });
  }
  lora.update();
  if (options.norms)
    for (const Lora* adapter : lora.adapters)
      notes.push_back(
          sentence("adapter: ", adapter->base.path(), ": rank ", adapter->rank, ", |sBA| ", adapter->delta_norm()));
  return lora;
}

void save_adapter(const AttachedLora& lora, const fs::path& folder, const std::string& base_model, Spelling names) {
  fs::create_directories(folder);
  NamedTensors tensors;
  for (const Parameter* p : lora.parameters())
    tensors.emplace(std::string(kPeftPrefix) + spelled(p->path(), names, *lora.config.names), p->value());
  save_safetensors(folder / "adapter_model.safetensors", tensors);
  std::vector<std::string> adapted;
  for (const Lora* adapter : lora.adapters) adapted.push_back(adapter->base.path());
  write_peft_config(lora.config.written_for(adapted, lora.linear_layers, names), folder / "adapter_config.json",
                    base_model);
}

}  // namespace vlm2vec
