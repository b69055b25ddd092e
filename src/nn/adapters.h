// Adapters (LoRA or DoRA) on the layers of a model.
#pragma once
#include "nn/lora.h"

namespace vlm2vec {

// The adapters attached, and the names in the configuration that have no effect.
struct AttachedLora {
  LoraConfig config;
  std::vector<Lora*> adapters;
  std::vector<std::string> linear_layers;      // paths of all linear layers of the model
  std::vector<std::string> unmatched_targets;  // target_modules that match no layer
  std::vector<std::string> dead_entries;       // other entries without effect: LoraConfig::dead_entries
  std::string warning = {};                    // for the user, shown even without notes; may be empty
  std::vector<Parameter*> parameters() const;
  void initialise(uint64_t seed) const;  // as PEFT does
  void update() const;                   // must be called after parameters change
  std::string unmatched_note() const;    // for the user; empty if every target names a layer
};

// Returns true if no parameter of the module is trained and no adapter lies in it: neither training nor dropout then
// changes its results.
bool is_frozen(Module& module);

std::vector<Linear*> targeted_layers(Module& model, LoraConfig config);
// The caller must still fill the adapters' parameters. Exit::usage if no layer is targeted.
AttachedLora attach_lora(Module& model, const LoraConfig& config, const DropoutState* dropout);
AttachedLora attach_lora(Module& model, const std::vector<Linear*>& layers, const LoraConfig& config,
                         const DropoutState* dropout);

}  // namespace vlm2vec
