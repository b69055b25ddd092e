#include "vlm/families/qwen2_vl.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// Those of transformers' Qwen2VLVisionConfig.
constexpr const char* kQwen2VisionDefaults = R"({"depth": 32, "embed_dim": 1280, "hidden_size": 3584,
  "hidden_act": "quick_gelu", "mlp_ratio": 4, "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2,
  "temporal_patch_size": 2})";

void read_tower(const json& vision, QwenVisionConfig& v) {
  v.embed_dim = size_field(vision, "embed_dim", kMostWidth);
  v.hidden_size = size_field(vision, "hidden_size", kMostWidth);
  v.mlp_hidden = int64_t(positive_field(vision, "mlp_ratio") * double(v.embed_dim));
  if (vision["hidden_act"] != "quick_gelu")
    fail(Exit::data, "vision hidden_act is ", vision["hidden_act"], ", expected quick_gelu");
  expect_config(v.mlp_hidden > 0 && v.mlp_hidden <= kMostWidth, "mlp_ratio times embed_dim is out of bounds");
}

}  // namespace

Qwen2VisionMlp::Qwen2VisionMlp(Module* parent, std::string name, const QwenVisionConfig& c)
    : Module(parent, std::move(name)),
      fc1{this, "fc1", c.embed_dim, c.mlp_hidden, true},
      fc2{this, "fc2", c.mlp_hidden, c.embed_dim, true} {}

std::unique_ptr<Backbone> make_qwen2_vl(const json& config) {
  return std::make_unique<Qwen2Vl>(read_qwen_vl(config, kQwen2VisionDefaults, read_tower));
}

json tiny_qwen2_vl(int hidden) {
  json config = tiny_qwen_vl(hidden, "qwen2_vl");
  config["vision_config"].update({{"embed_dim", 16}, {"hidden_size", hidden}});
  return config;
}

}  // namespace vlm2vec
