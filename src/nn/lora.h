// LoRA: W stays, y = x Wᵀ + (α/r)·drop(x) Aᵀ Bᵀ with A [r, in], B [out, r] trained (Hu et al. 2021, eq. 3). Adapters
// are read and written as PEFT folders: adapter_config.json and adapter_model.safetensors.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "nn/layers.h"

namespace vlm2vec {

// What dropout needs to know about the rows in flight: who they are, not where they lie. Set by the model as it goes.
struct DropoutState {
  bool active = false;
  uint64_t seed = 0;  // of this training step
  Tensor row_keys;    // i64 [rows]
};

struct LoraConfig {
  int rank = 8;
  double alpha = 64, dropout = 0;
  std::vector<std::string> target_modules;  // a module is meant if its path is the name or ends with "." + name
  double scale() const { return alpha / rank; }
};

struct Lora : Module, Adapter {
  Lora(Linear* base, int64_t in, int64_t out, const LoraConfig& config, const DropoutState* state, int number);
  Var operator()(const Linear& base, const Var& x) override;
  Linear lora_A, lora_B;

 private:
  LoraConfig config_;
  const DropoutState* dropout_;
  int number_;  // among the adapters of the model: each has its own dropout
};

// What was attached, and the target names that match no layer.
struct AttachedLora {
  LoraConfig config;
  std::vector<Lora*> adapters;
  std::vector<std::string> unmatched_targets;
  std::vector<Parameter*> parameters() const;
  std::string unmatched_note() const;  // for the user; empty if every target names a layer
};
AttachedLora attach_lora(Module& model, const LoraConfig& config, const DropoutState* dropout);

// PEFT's gaussian initialisation: A ~ N(0, 1/r²), B = 0.
void initialise_lora(const AttachedLora& lora, uint64_t seed, DType dtype, Device device);

// Attaches the adapter of a PEFT folder. With drop_dora the magnitude vectors of a DoRA adapter are left out; without
// it such a folder is an error. `notes` gets sentences for the user.
AttachedLora load_adapter(Module& model, const std::filesystem::path& folder, bool drop_dora,
                          const DropoutState* dropout, DType dtype, Device device, std::vector<std::string>& notes);
void save_adapter(const AttachedLora& lora, const std::filesystem::path& folder, const std::string& base_model);

}  // namespace vlm2vec
