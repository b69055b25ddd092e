// Reads and writes adapter_config.json, PEFT's LoraConfig. Unknown fields that may change the result are errors.
#pragma once
#include <filesystem>
#include <string>

#include "nn/lora.h"

namespace vlm2vec {

LoraConfig read_peft_config(const std::filesystem::path& file);
void write_peft_config(const LoraConfig& config, const std::filesystem::path& file, const std::string& base_model);

}  // namespace vlm2vec
