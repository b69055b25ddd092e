// adapter_config.json, PEFT's LoraConfig. A field that would change the result and is not known is refused by name.
#pragma once
#include <filesystem>
#include <string>

#include "nn/lora.h"

namespace vlm2vec {

LoraConfig read_peft_config(const std::filesystem::path& file);
void write_peft_config(const LoraConfig& config, const std::filesystem::path& file, const std::string& base_model);

}  // namespace vlm2vec
