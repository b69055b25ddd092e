#include "nn/adapters.h"

#include <set>

#include "io/text.h"
#include "nn/dora.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

std::vector<Linear*> linear_layers(Module& model) {
  std::vector<Linear*> layers;
  model.each_module([&](Module& m) {
    if (auto* layer = dynamic_cast<Linear*>(&m)) layers.push_back(layer);
  });
  return layers;
}

std::vector<std::string> paths_of(const std::vector<Linear*>& layers) {
  std::vector<std::string> paths;
  for (const Linear* layer : layers) paths.push_back(layer->path());
  return paths;
}

}  // namespace

std::vector<Parameter*> AttachedLora::parameters() const {
  std::vector<Parameter*> all;
  for (Lora* lora : adapters) lora->each_parameter([&](Parameter& p) { all.push_back(&p); });
  return all;
}

void AttachedLora::initialise(uint64_t seed) const {
  for (size_t i = 0; i < adapters.size(); ++i) adapters[i]->initialise(mix(seed, i));
}

void AttachedLora::update() const {
  for (Lora* lora : adapters) lora->update();
}

std::string AttachedLora::unmatched_note() const {
  return unmatched_targets.empty() ? "" : "adapter: no layer is named " + joined(unmatched_targets) + "; ignored";
}

bool is_frozen(Module& module) {
  bool frozen = true;
  module.each_module([&](Module& m) {
    if (const auto* layer = dynamic_cast<Linear*>(&m)) frozen &= !layer->adapter;
  });
  module.each_parameter([&](Parameter& p) { frozen &= !p.trained(); });
  return frozen;
}

std::vector<Linear*> targeted_layers(Module& model, LoraConfig config) {
  config.names = &model.names();
  std::vector<Linear*> layers = linear_layers(model);
  std::erase_if(layers, [&](const Linear* layer) { return !config.targets(layer->path()); });
  return layers;
}

AttachedLora attach_lora(Module& model, const std::vector<Linear*>& layers, const LoraConfig& config,
                         const DropoutState* dropout) {
  AttachedLora attached{config, {}, paths_of(linear_layers(model)), {}, {}};
  attached.config.names = &model.names();
  attached.dead_entries = attached.config.dead_entries(paths_of(layers), attached.linear_layers);
  for (Linear* layer : layers) {
    CHECK(!layer->adapter, layer->path(), ": already has an adapter");
    const int number = int(attached.adapters.size());
    const auto attach = [&](auto lora) {
      attached.adapters.push_back(lora.get());
      layer->adapter = std::move(lora);
    };
    if (config.use_dora) attach(std::make_unique<Dora>(*layer, attached.config, dropout, number));
    else attach(std::make_unique<Lora>(*layer, attached.config, dropout, number));
  }
  return attached;
}

AttachedLora attach_lora(Module& model, const LoraConfig& config, const DropoutState* dropout) {
  const std::vector<Linear*> layers = targeted_layers(model, config);
  if (layers.empty()) {
    std::set<std::string> there;
    for (const std::string& path : paths_of(linear_layers(model))) there.insert(path.substr(path.rfind('.') + 1));
    fail(Exit::usage, "--lora_target_modules ", joined(config.target_modules, " "),
         ": none of the target modules names a layer of this model, which has ", joined(there));
  }
  AttachedLora attached = attach_lora(model, layers, config, dropout);
  for (const std::string& target : config.target_modules) {
    LoraConfig one = config;
    one.target_modules = {target};
    if (targeted_layers(model, one).empty()) attached.unmatched_targets.push_back(target);
  }
  return attached;
}

}  // namespace vlm2vec
