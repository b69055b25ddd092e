// Adapters (LoRA or DoRA) on the layers of a model.
#pragma once
#include <memory>

#include "nn/lora.h"

namespace vlm2vec {

// What was attached, and what the configuration names in vain.
struct AttachedLora {
  LoraConfig config;
  std::vector<Lora*> adapters;
  std::vector<std::string> linear_layers;      // paths of all that the model has
  std::vector<std::string> unmatched_targets;  // names of the list that no layer has
  std::vector<std::string> dead_entries;       // what else has no effect: LoraConfig::dead_entries
  std::string warning = {};                    // for the user, also when notes are not wanted; empty: there is none
  std::vector<Parameter*> parameters() const;
  void initialise(uint64_t seed) const;  // as PEFT starts
  void update() const;                   // to be called when the parameters have new values
  std::string unmatched_note() const;    // for the user; empty if every target names a layer
};

// No parameter of the module is trained and no adapter lies in it, so that neither training nor dropout changes what it
// computes.
bool is_frozen(Module& module);

std::vector<Linear*> targeted_layers(Module& model, LoraConfig config);
// The adapters' numbers are still to be set. Exit::usage if no layer is targeted.
AttachedLora attach_lora(Module& model, const LoraConfig& config, const DropoutState* dropout);
AttachedLora attach_lora(Module& model, const std::vector<Linear*>& layers, const LoraConfig& config,
                         const DropoutState* dropout);

}  // namespace vlm2vec
