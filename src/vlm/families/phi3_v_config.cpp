// Reads Phi-3.5-V's config.json and refuses settings that this program does not know.
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/safetensors.h"
#include "tensor/tensor_files.h"
#include "vlm/config_fields.h"
#include "vlm/families/phi3_v.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// The defaults of the official Phi3VConfig, and what its code says of the tower.
constexpr const char* kPhiDefaults = R"({"vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
  "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 4096,
  "original_max_position_embeddings": 4096, "initializer_range": 0.02, "rms_norm_eps": 1e-5, "rope_theta": 10000.0})";
constexpr const char* kPhiTowerDefaults = R"({"image_dim_out": 1024, "num_hidden_layers": 24, "intermediate_size": 4096,
  "image_size": 336, "patch_size": 14})";
constexpr int kClipHead = 64;

json image_processor_of(const json& root) { return json_field(root, "img_processor", json(json::object())); }

// Reads a choice of which the official code has others.
void expect_choice(const json& object, const char* name, const json& expected) {
  if (object.contains(name) && object[name] != expected)
    fail(Exit::data, name, " is ", object[name], ", expected ", expected);
}

void read_rotary(const json& root, Phi3VConfig& c) {
  const char* const rope_name = has_value(root, "rope_scaling") ? "rope_scaling" : "rope_parameters";  // transformers 5
  const json rope = json_field(root, rope_name, json());
  c.text.rope_theta = positive_field(has_value(rope, "rope_theta") ? rope : root, "rope_theta");
  c.short_length = size_field(root, "original_max_position_embeddings", kMostTokens);
  c.short_factor.assign(size_t(c.text.head_dim / 2), 1.0f), c.long_factor = c.short_factor;
  if (rope.is_null()) return;
  const std::string type = json_field(rope, "rope_type", json_field(rope, "type", std::string("su")));
  if (type == "default") return;
  if (type != "su" && type != "longrope")
    fail(Exit::data, rope_name, " is of type ", type, ", expected su, longrope or default");
  const auto factors = [&](const char* name) {
    const std::vector<float> all = rope.at(name);
    if (all.size() != c.short_factor.size())
      fail(Exit::data, name, " has ", all.size(), " numbers, expected half the head size, ", c.short_factor.size());
    for (const float factor : all)
      if (!(factor > 0)) fail(Exit::data, name, " has ", factor, ", expected positive numbers");
    return all;
  };
  c.short_factor = factors("short_factor"), c.long_factor = factors("long_factor");
  const double most = double(size_field(root, "max_position_embeddings", int64_t(1) << 40)),
               scale = most / double(c.short_length);
  if (scale > 1) c.rotary_scale = std::sqrt(1 + std::log(scale) / std::log(double(c.short_length)));
}

void read_tower(const json& root, Phi3VConfig& c) {
  const json image = over_defaults(image_processor_of(root), kPhiTowerDefaults);
  expect_choice(image, "name", "clip_vision_model");
  expect_choice(image, "type_feature", "patch");
  ClipTowerConfig& v = c.vision;
  v.width = size_field(image, "image_dim_out", kMostWidth);
  v.layers = int(size_field(image, "num_hidden_layers", kMostLayers));
  v.mlp_hidden = size_field(image, "intermediate_size", kMostWidth);
  v.heads = int(size_field(image, "num_attention_heads", kMostHeads, std::max<int64_t>(1, v.width / kClipHead)));
  v.image_size = int(size_field(image, "image_size", 1 << 14));
  v.patch_size = int(size_field(image, "patch_size", 1 << 14));
  const int64_t side = v.image_size / v.patch_size, layer = json_field(image, "layer_idx", -2);
  v.positions = side * side + 1;
  expect_config(v.width % v.heads == 0, "image_dim_out must be a multiple of the tower's number of heads");
  expect_config(side * v.patch_size == v.image_size && side % 2 == 0,
                "image_size of img_processor must be an even multiple of its patch_size");
  c.tower_layers = layer < 0 ? v.layers + 1 + layer : layer;
  expect_config(c.tower_layers >= 0 && c.tower_layers <= v.layers, "layer_idx must name a layer of the tower");
}

}  // namespace

std::unique_ptr<Backbone> make_phi3_v(const json& given) {
  const json root = over_defaults(given, kPhiDefaults);
  Phi3VConfig c;
  DecoderConfig& d = c.text = read_decoder_config(root);
  c.initializer_range = positive_field(root, "initializer_range");
  expect_config(d.hidden_size == d.num_attention_heads * d.head_dim,
                "hidden_size must be a multiple of num_attention_heads");
  // The official mask leaves a token itself and so many before it.
  if (has_value(root, "sliding_window")) d.window = int(size_field(root, "sliding_window", kMostTokens)) + 1;
  read_rotary(root, c);
  const json images = json_field(root, "embd_layer", json(json::object()));
  expect_choice(images, "projection_cls", "mlp");
  expect_choice(images, "hd_transform_order", "sub_glb");
  expect_choice(images, "use_hd_transform", true);
  expect_choice(images, "with_learnable_separator", true);
  read_tower(root, c);
  return std::make_unique<Phi3V>(std::move(c));
}

void complete_phi3_v(json& config, const std::filesystem::path& config_file) {
  const std::filesystem::path folder = config_file.parent_path();
  json image = image_processor_of(config);
  if (image.contains("num_hidden_layers") || weights_file(folder).name.empty()) return;
  const std::string tower = "img_processor.vision_model.";
  uint64_t layers = 0, positions = 0, patch = 0;
  for (const auto& [name, x] : load_checkpoint(folder)) {
    const size_t at = name.find(tower);
    if (at == name.npos || x.shape().empty()) continue;
    const std::string part = name.substr(at + tower.size());
    if (part.ends_with("mlp.fc1.weight")) ++layers, image["intermediate_size"] = uint64_t(x.dim(0));
    if (part == "embeddings.position_embedding.weight") positions = uint64_t(x.dim(0));
    if (part == "embeddings.patch_embedding.weight") patch = uint64_t(x.shape().back());
  }
  if (layers == 0 || positions < 2 || patch == 0) return;  // loading says what is missing
  image["num_hidden_layers"] = layers, image["patch_size"] = patch;
  image["image_size"] = patch * uint64_t(std::llround(std::sqrt(double(positions - 1))));
  config["img_processor"] = image;
}

json tiny_phi3_v(int hidden) {
  const std::vector<double> ones(size_t(hidden / 4), 1.0), longer(size_t(hidden / 4), 2.0);
  return {{"model_type", "phi3_v"}, {"hidden_size", hidden}, {"intermediate_size", 24}, {"num_hidden_layers", 2},
          {"num_attention_heads", 2}, {"vocab_size", 300}, {"max_position_embeddings", 64},
          {"original_max_position_embeddings", 16},
          {"rope_scaling", {{"type", "su"}, {"short_factor", ones}, {"long_factor", longer}}},
          {"img_processor", {{"image_dim_out", 16}, {"num_attention_heads", 2}, {"num_hidden_layers", 2},
                             {"intermediate_size", 24}, {"image_size", 16}, {"patch_size", 4}}}};
}

}  // namespace vlm2vec
