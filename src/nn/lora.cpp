#include "nn/lora.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/state.h"
#include "tensor/io/files.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

bool matches(const std::string& path, const std::string& target) {
  return path == target || path.ends_with("." + target);
}

LoraConfig read_config(const std::filesystem::path& file, bool drop_dora, std::vector<std::string>& notes) {
  const json config = read_json(file);
  const auto refuse = [&](const std::string& what) { fail(Exit::data, file.string(), ": ", what); };
  try {
    if (config.value("peft_type", "") != "LORA")
      refuse("peft_type is " + config.value("peft_type", json()).dump() + ", expected LORA");
    if (config.value("use_dora", false)) {
      if (!drop_dora)
        refuse("this is a DoRA adapter; --use_dora False reads it as LoRA, without its magnitude vectors");
      notes.push_back(file.string() + ": DoRA adapter read as LoRA, its magnitude vectors are dropped");
    }
    for (const char* key : {"use_rslora", "fan_in_fan_out", "lora_bias"})
      if (config.contains(key) && config[key] == true)
        refuse(std::string(key) + " is true, which this program does not know");
    for (const char* key : {"rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform",
                            "exclude_modules", "layer_replication"})
      if (config.contains(key) && !config[key].is_null() && !config[key].empty())
        refuse(std::string(key) + " is set, which this program does not know");
    if (config.value("bias", "none") != "none") refuse("bias is " + config["bias"].dump() + ", expected none");
    if (!config.at("target_modules").is_array())
      refuse("target_modules is " + config["target_modules"].dump() + ", expected a list of names");
    LoraConfig lora{config.at("r").get<int>(), config.at("lora_alpha").get<double>(), config.value("lora_dropout", 0.0),
                    config["target_modules"].get<std::vector<std::string>>()};
    if (lora.rank < 1) refuse("r is " + std::to_string(lora.rank) + ", expected at least 1");
    return lora;
  } catch (const json::exception& e) {
    refuse("r, lora_alpha or target_modules is missing or of the wrong type");
    throw;
  }
}

}  // namespace

Lora::Lora(Linear* base, int64_t in, int64_t out, const LoraConfig& config, const DropoutState* state, int number)
    : Module(base, ""),
      lora_A{this, "lora_A", in, config.rank, false},
      lora_B{this, "lora_B", config.rank, out, false},
      config_(config),
      dropout_(state),
      number_(number) {}

Var Lora::operator()(const Linear& base, const Var& x) {
  const bool drop = dropout_ && dropout_->active && config_.dropout > 0;
  const Var dropped =
      drop ? dropout(x, dropout_->row_keys, config_.dropout, mix(dropout_->seed, uint64_t(number_))) : x;
  return base.plain(x) + lora_B(scale(lora_A(dropped), config_.scale()));
}

std::vector<Parameter*> AttachedLora::parameters() const {
  std::vector<Parameter*> all;
  for (Lora* lora : adapters) all.push_back(&lora->lora_A.weight), all.push_back(&lora->lora_B.weight);
  return all;
}

std::string AttachedLora::unmatched_note() const {
  std::string names;
  for (const std::string& target : unmatched_targets) names += (names.empty() ? "" : ", ") + target;
  return names.empty() ? "" : "adapter: no layer is named " + names + "; ignored";
}

AttachedLora attach_lora(Module& model, const LoraConfig& config, const DropoutState* dropout) {
  AttachedLora attached{config, {}, {}};
  std::set<std::string> matched;
  std::vector<Linear*> bases;
  model.each_module([&](Module& m) {
    auto* base = dynamic_cast<Linear*>(&m);
    if (!base) return;
    bool wanted = false;
    for (const std::string& target : config.target_modules)
      if (matches(m.path(), target)) wanted = true, matched.insert(target);
    if (wanted) bases.push_back(base);
  });
  for (Linear* base : bases) {
    CHECK(!base->adapter, base->path(), ": already has an adapter");
    auto lora = std::make_unique<Lora>(base, base->weight.shape()[1], base->weight.shape()[0], config, dropout,
                                       int(attached.adapters.size()));
    attached.adapters.push_back(lora.get());
    base->adapter = std::move(lora);
  }
  for (const std::string& target : config.target_modules)
    if (!matched.contains(target)) attached.unmatched_targets.push_back(target);
  if (bases.empty()) fail(Exit::usage, "lora: none of the target modules names a layer of this model");
  return attached;
}

void initialise_lora(const AttachedLora& lora, uint64_t seed, DType dtype, Device device) {
  for (size_t i = 0; i < lora.adapters.size(); ++i) {
    Lora& a = *lora.adapters[i];
    a.lora_A.weight.set(normal_tensor(a.lora_A.weight.shape(), 1.0 / lora.config.rank, mix(seed, i), dtype, device));
    a.lora_B.weight.set(zeros(a.lora_B.weight.shape(), dtype, device));
  }
}

AttachedLora load_adapter(Module& model, const std::filesystem::path& folder, bool drop_dora,
                          const DropoutState* dropout, DType dtype, Device device, std::vector<std::string>& notes) {
  const auto file = folder / "adapter_model.safetensors";
  AttachedLora lora = attach_lora(model, read_config(folder / "adapter_config.json", drop_dora, notes), dropout);
  NamedTensors stored;
  for (const auto& [name, tensor] : load_safetensors(file)) {
    const bool magnitude = name.find("lora_magnitude_vector") != std::string::npos;
    if (!(magnitude && drop_dora)) stored.emplace(canonical_name(name), tensor);
  }
  std::set<std::string> missing;
  for (Parameter* p : lora.parameters()) {
    const auto found = stored.find(p->path());
    if (found == stored.end()) {
      missing.insert(p->path());
      continue;
    }
    if (found->second.shape() != p->shape())
      fail(Exit::data, file.string(), ": ", p->path(), " is ", found->second, ", this model wants ",
           to_string(p->shape()), "; is it the adapter's base model?");
    p->set(found->second.to(dtype).to(device));
    stored.erase(found);
  }
  if (!missing.empty() || !stored.empty())
    fail(Exit::data, file.string(), ": the adapter does not fit the model: ", missing.size(), " of ",
         lora.parameters().size(), " tensors are missing", missing.empty() ? "" : " (" + *missing.begin() + ", …)",
         ", ", stored.size(), " are not used", stored.empty() ? "" : " (" + stored.begin()->first + ", …)");
  if (const std::string note = lora.unmatched_note(); !note.empty()) notes.push_back(note);
  return lora;
}

void save_adapter(const AttachedLora& lora, const std::filesystem::path& folder, const std::string& base_model) {
  std::filesystem::create_directories(folder);
  NamedTensors tensors;
  for (Parameter* p : lora.parameters()) tensors.emplace("base_model.model." + p->path(), p->value());
  save_safetensors(folder / "adapter_model.safetensors", tensors);
  const LoraConfig& c = lora.config;
  write_json(folder / "adapter_config.json", {{"peft_type", "LORA"},
                                              {"base_model_name_or_path", base_model},
                                              {"r", c.rank},
                                              {"lora_alpha", c.alpha},
                                              {"lora_dropout", c.dropout},
                                              {"target_modules", c.target_modules},
                                              {"bias", "none"},
                                              {"use_dora", false},
                                              {"use_rslora", false},
                                              {"fan_in_fan_out", false},
                                              {"init_lora_weights", "gaussian"},
                                              {"inference_mode", true},
                                              {"task_type", nullptr}});
}

}  // namespace vlm2vec
