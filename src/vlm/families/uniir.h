// What UniIR (Wei et al. 2024) has of its own: CLIP_SF's checkpoints, pictures and prompts. CLIP_SF adds a text's and a
// picture's vectors before they are normalised, as CLIP does here; BLIP_FF is in blip.h.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>

#include "tensor/tensor_files.h"
#include "vlm/image/picture_rule.h"
#include "vlm/prompt.h"

namespace vlm2vec {

// Returns a config.json without sizes for a clip_sf_config.json; complete_clip_sf() reads the sizes from the weights.
nlohmann::json clip_sf_config_of(const nlohmann::json& uniir);
void complete_clip_sf(nlohmann::json& config, const std::filesystem::path& config_file);
NamedTensors clip_sf_tensors_of(const NamedTensors& uniir);
std::unique_ptr<PictureRule> clip_sf_pictures(const nlohmann::json& settings);
std::unique_ptr<PictureRule> blip_ff_pictures(const nlohmann::json& settings);
nlohmann::json tiny_clip_sf(int hidden);
// raw, VLM2Vec's, and "uniir": its sentences of instruction and text.
std::span<const PromptStyle> uniir_prompts();

}  // namespace vlm2vec
