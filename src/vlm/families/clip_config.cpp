// Reads CLIP's config.json and refuses settings that this program does not know.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/families/clip.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// The defaults of transformers' CLIPTextConfig and CLIPVisionConfig.
constexpr const char* kTextDefaults = R"({"vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048,
  "num_hidden_layers": 12, "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
  "layer_norm_eps": 1e-5, "initializer_factor": 1.0, "eos_token_id": 49407})";
constexpr const char* kVisionDefaults = R"({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
  "num_attention_heads": 12, "num_channels": 3, "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu",
  "layer_norm_eps": 1e-5, "initializer_factor": 1.0, "initializer_range": 0.02})";

// Returns a tower's fields over the defaults. Older files have them twice; then text_config_dict counts, not
// text_config.
json tower_fields(const json& root, const std::string& name, const char* defaults) {
  const json given = json_field(root, name.c_str(), json(json::object()));
  return over_defaults(json_field(root, (name + "_dict").c_str(), given), defaults);
}

}  // namespace

ClipTowerConfig read_clip_tower(const json& tower, const std::string& name) {
  ClipTowerConfig t;
  t.layers = int(size_field(tower, "num_hidden_layers", kMostLayers));
  t.heads = int(size_field(tower, "num_attention_heads", kMostHeads));
  t.width = size_field(tower, "hidden_size", kMostWidth);
  t.mlp_hidden = size_field(tower, "intermediate_size", kMostWidth);
  t.eps = positive_field(tower, "layer_norm_eps");
  t.initializer_factor = positive_field(tower, "initializer_factor");
  if (const json& act = tower.at("hidden_act"); act == "gelu") t.activation = Activation::gelu;
  else if (act == "gelu_pytorch_tanh") t.activation = Activation::gelu_tanh;
  else if (act != "quick_gelu")
    fail(Exit::data, "hidden_act of ", name, " is ", act, ", expected quick_gelu, gelu or gelu_pytorch_tanh");
  if (t.width % t.heads != 0)
    fail(Exit::data, "hidden_size ", t.width, " of ", name, " is not a multiple of num_attention_heads ", t.heads);
  return t;
}

ClipTowerConfig read_clip_vision(const json& given) {
  const json vision = over_defaults(given, kVisionDefaults);
  ClipTowerConfig v = read_clip_tower(vision, "vision_config");
  v.initializer_range = positive_field(vision, "initializer_range");
  v.image_size = int(size_field(vision, "image_size", 1 << 14));
  v.patch_size = int(size_field(vision, "patch_size", 1 << 14));
  expect_config(vision["num_channels"] == 3, "num_channels of vision_config must be 3");
  const int64_t side = v.image_size / v.patch_size;
  expect_config(side * v.patch_size == v.image_size,
                "image_size of vision_config must be a multiple of its patch_size");
  v.positions = side * side + 1;
  return v;
}

std::unique_ptr<Backbone> make_clip(const json& root) {
  const json text = tower_fields(root, "text_config", kTextDefaults);
  DualConfig c;
  c.text = read_clip_tower(text, "text_config");
  c.vision = read_clip_vision(tower_fields(root, "vision_config", kVisionDefaults));
  c.text.causal = true;
  c.text.positions = size_field(text, "max_position_embeddings", kMostTokens);
  c.vocab_size = size_field(text, "vocab_size", kMostTokens);
  c.eos_token_id = size_field(text, "eos_token_id", kMostTokens);
  c.projection_dim = size_field(root, "projection_dim", kMostWidth, 512);
  return std::make_unique<Clip>(c);
}

json tiny_clip(int hidden) {
  const json tower = {{"intermediate_size", 24}, {"num_hidden_layers", 2}, {"num_attention_heads", 2}};
  json text = tower, vision = tower;
  text.update({{"hidden_size", hidden}, {"vocab_size", 300}, {"eos_token_id", 2}});
  vision.update({{"hidden_size", 16}, {"image_size", 16}, {"patch_size", 4}});
  return {{"model_type", "clip"}, {"projection_dim", 16}, {"text_config", text}, {"vision_config", vision}};
}

}  // namespace vlm2vec
