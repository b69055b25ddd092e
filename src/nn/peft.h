// Reads and writes PEFT's folders: adapter_config.json and adapter_model.safetensors, or the pickle adapter_model.bin.
// Only LoRA and DoRA on linear layers are known.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "nn/adapters.h"

namespace vlm2vec {

struct AdapterOptions {
  bool use_dora = true;        // false reads a DoRA adapter as LoRA, without its magnitude vectors
  bool allow_partial = false;  // false: every module of the file must be a targeted layer, and vice versa
  bool norms = false;          // adds a note for each module: ‖s·BA‖
};

// Attaches the adapter of a folder, in f32 (f64 on f64 models), with names in any spelling. `notes` gets sentences for
// the user ("adapter: 196 of 196 modules matched"); on a partial match, `warning` gets this sentence. Exit::data if no
// module matches.
AttachedLora load_adapter(Module& model, const std::filesystem::path& folder, const AdapterOptions& options,
                          const DropoutState* dropout, std::vector<std::string>& notes);
void save_adapter(const AttachedLora& lora, const std::filesystem::path& folder, const std::string& base_model,
                  Spelling names);

}  // namespace vlm2vec
