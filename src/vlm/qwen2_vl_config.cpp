// config.json of Qwen2-VL: read, and refused where it asks for what this program does not know.
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "vlm/qwen2_vl.h"

namespace vlm2vec {

Qwen2VlConfig Qwen2VlConfig::load(const std::filesystem::path& file) {
  const nlohmann::json root = read_json(file);
  Qwen2VlConfig c;
  try {
    const std::string type = root.value("model_type", "");
    if (type != "qwen2_vl")
      fail(Exit::data, file.string(), ": model_type is \"", type, "\"; this program knows qwen2_vl");
    const nlohmann::json& text = root.contains("text_config") ? root.at("text_config") : root;
    const nlohmann::json& vision = root.at("vision_config");
    const auto either = [&](const char* key) { return root.contains(key) ? root.at(key) : text.at(key); };
    DecoderConfig& d = c.text;
    d.vocab_size = text.at("vocab_size"), d.hidden_size = text.at("hidden_size"),
    d.intermediate_size = text.at("intermediate_size");
    d.num_hidden_layers = text.at("num_hidden_layers"), d.num_attention_heads = text.at("num_attention_heads");
    d.num_key_value_heads = text.at("num_key_value_heads");
    if (d.num_attention_heads < 1) fail(Exit::data, file.string(), ": num_attention_heads is ", d.num_attention_heads);
    d.head_dim = text.value("head_dim", int(d.hidden_size / d.num_attention_heads));
    d.rms_norm_eps = text.at("rms_norm_eps");
    if (text.value("hidden_act", "silu") != "silu")
      fail(Exit::data, file.string(), ": hidden_act is ", text["hidden_act"].dump(), ", expected silu");
    if (text.value("use_sliding_window", false))
      fail(Exit::data, file.string(), ": use_sliding_window is true, which this program does not know");
    const nlohmann::json& rope = text.contains("rope_scaling") ? text.at("rope_scaling") : text.at("rope_parameters");
    d.rope_theta = text.contains("rope_theta") ? text.at("rope_theta") : rope.at("rope_theta");
    c.mrope_section = rope.at("mrope_section").get<std::vector<int>>();
    const std::string rope_type = rope.value("rope_type", rope.value("type", "mrope"));
    if (rope_type != "mrope" && rope_type != "default")
      fail(Exit::data, file.string(), ": the rotary embedding is of type \"", rope_type,
           "\", expected mrope or default");
    c.image_token_id = either("image_token_id");
    c.vision_start_token_id = root.value("vision_start_token_id", text.value("vision_start_token_id", -1));
    c.initializer_range = text.value("initializer_range", 0.02);
    VisionConfig& v = c.vision;
    v.depth = vision.at("depth"), v.embed_dim = vision.at("embed_dim"), v.num_heads = vision.at("num_heads");
    v.hidden_size = vision.at("hidden_size"), v.patch_size = vision.value("patch_size", 14);
    v.mlp_hidden = int64_t(vision.value("mlp_ratio", 4.0) * double(v.embed_dim));
    v.spatial_merge_size = vision.value("spatial_merge_size", 2),
    v.temporal_patch_size = vision.value("temporal_patch_size", 2);
    if (vision.value("hidden_act", "quick_gelu") != "quick_gelu")
      fail(Exit::data, file.string(), ": vision hidden_act is ", vision["hidden_act"].dump(), ", expected quick_gelu");
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": a field is missing or of the wrong type (", e.what(), ")");
  }
  const DecoderConfig& d = c.text;
  const VisionConfig& v = c.vision;
  const auto expect = [&](bool ok, const std::string& what) {
    if (!ok) fail(Exit::data, file.string(), ": ", what);
  };
  expect(d.hidden_size > 0 && d.num_hidden_layers > 0 && d.vocab_size > 0 && d.intermediate_size > 0 && d.head_dim > 0,
         "sizes must be positive");
  expect(d.num_key_value_heads > 0 && d.num_attention_heads % d.num_key_value_heads == 0,
         "num_attention_heads must be a multiple of num_key_value_heads");
  expect(v.depth > 0 && v.num_heads > 0 && v.embed_dim % (4 * v.num_heads) == 0,
         "the vision head size must be a multiple of 4");
  expect(v.hidden_size == d.hidden_size, "vision_config.hidden_size (what the merger puts out) must equal hidden_size");
  expect(v.temporal_patch_size == 2 && v.spatial_merge_size >= 1 && v.patch_size >= 1,
         "temporal_patch_size must be 2, patch and merge sizes positive");
  int sections = 0;
  for (int s : c.mrope_section) {
    expect(s >= 0, "mrope_section has a negative number");
    sections += s;
  }
  expect(c.mrope_section.size() == 3 && 2 * sections == d.head_dim,
         "mrope_section must be three numbers that add up to half the head size");
  expect(c.image_token_id >= 0 && c.image_token_id < d.vocab_size, "image_token_id must lie in the vocabulary");
  return c;
}

}  // namespace vlm2vec
