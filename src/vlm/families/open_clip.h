// Checkpoints in OpenAI's spelling of CLIP, as OpenCLIP has it (Cherti et al. 2023): read as transformers' CLIP. Its
// tokenizer cleans texts, and its pictures' middle is rounded in another way.
#pragma once
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "tensor/tensor_files.h"
#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// Returns config.json in CLIP's form for an open_clip_config.json. Throws Exit::data, without the file's name.
nlohmann::json clip_config_of(const nlohmann::json& open_clip);
// Renames OpenAI's tensors to those of transformers: visual.transformer.resblocks.0.attn.in_proj_weight becomes q, k
// and v of vision_model.encoder.layers.0.self_attn. Others stay.
NamedTensors clip_tensors_of(const NamedTensors& openai);
// Reads the settings of an open_clip_config.json, or of a preprocessor_config.json.
std::unique_ptr<PictureRule> open_clip_pictures(const nlohmann::json& settings);
nlohmann::json tiny_open_clip(int hidden);

}  // namespace vlm2vec
