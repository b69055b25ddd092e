// PEFT's folders: adapter_config.json and adapter_model.safetensors, or the pickle adapter_model.bin. Read are LoRA and
// DoRA on linear layers.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/adapters.h"

namespace vlm2vec {

struct AdapterOptions {
  bool use_dora = true;        // false: a DoRA adapter is read as LoRA, its magnitude vectors are left out
  bool allow_partial = false;  // false: every module of the file must be a targeted layer, and the other way round
  bool norms = false;          // a note for each module: ‖s·BA‖
};

// Attaches the adapter of a folder, in f32 (f64 on f64 models), whatever spelling its names have. `notes` gets
// sentences for the user, "adapter: 196 of 196 modules matched"; where only a part matched, `warning` says so instead.
// Exit::data if nothing matches.
AttachedLora load_adapter(Module& model, const std::filesystem::path& folder, const AdapterOptions& options,
                          const DropoutState* dropout, std::vector<std::string>& notes);
void save_adapter(const AttachedLora& lora, const std::filesystem::path& folder, const std::string& base_model,
                  Spelling names);

}  // namespace vlm2vec
