// Reads config.json of Qwen2-VL and its successors and refuses settings that this program does not know.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/families/qwen_vl.h"

namespace vlm2vec {

// The defaults of transformers' Qwen2VLTextConfig and Qwen2_5_VLTextConfig, with the token ids of the whole. Those of
// rope are what the published models have.
const char* const kQwenTextDefaults = R"({"vocab_size": 152064, "hidden_size": 8192, "intermediate_size": 29568,
  "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "hidden_act": "silu",
  "rms_norm_eps": 1e-5, "rope_theta": 1e6, "mrope_section": [16, 24, 24], "initializer_range": 0.02,
  "image_token_id": 151655, "vision_start_token_id": 151652})";

namespace {

using nlohmann::json;

// transformers 5 writes rope_parameters.
void read_rope(const json& text, QwenVlConfig& c) {
  const json none = json::object();
  const char* const rope_name = text.contains("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const json& rope = text.contains(rope_name) ? text.at(rope_name) : none;
  const json& theta = rope.contains("rope_theta") ? rope : text;
  c.text.rope_theta = positive_field(theta, "rope_theta");
  const json sections = rope.value("mrope_section", text.at("mrope_section"));
  for (const json& section : sections.get_ref<const json::array_t&>()) {
    if (!section.is_number_unsigned() || section > kMostWidth || c.mrope_section.size() == 3)
      fail(Exit::data, "mrope_section is ", sections, ", expected three whole numbers");
    c.mrope_section.push_back(section);
  }
  for (const char* name : {"rope_type", "type"})
    if (const auto type = json_field(rope, name, std::string("mrope")); type != "mrope" && type != "default")
      fail(Exit::data, "the rotary embedding is of type ", json(type), " (", name, "), expected mrope or default");
}

void read_vision(const json& vision, QwenVisionConfig& v) {
  v.depth = int(size_field(vision, "depth", kMostLayers));
  v.num_heads = int(size_field(vision, "num_heads", kMostHeads));
  v.patch_size = int(size_field(vision, "patch_size", 1024));
  v.spatial_merge_size = int(size_field(vision, "spatial_merge_size", 64));
  v.temporal_patch_size = int(size_field(vision, "temporal_patch_size", 64));
  const json rope = json_field(vision, "rope_parameters", json(json::object()));
  if (rope.value("rope_theta", json(10000)) != 10000 || rope.value("rope_type", json("axial")) != "axial")
    fail(Exit::data, "rope_parameters of vision_config are ", rope, ", expected rope_theta 10000 and axial");
  if (vision.contains("in_channels") && vision["in_channels"] != 3)
    fail(Exit::data, "in_channels is ", vision["in_channels"], ", expected 3");
}

}  // namespace

QwenVlConfig read_qwen_vl(const json& root, const char* vision_defaults,
                          void (*read_tower)(const json& vision, QwenVisionConfig& tower), const char* text_defaults) {
  const json text = over_defaults(root.contains("text_config") ? root.at("text_config") : root, text_defaults),
             vision = over_defaults(json_field(root, "vision_config", json(json::object())), vision_defaults);
  const auto token = [&](const char* key) {
    const json& from = root.contains(key) ? root : text;
    return from[key] == 0 ? 0 : int(size_field(from, key, kMostTokens));
  };
  QwenVlConfig c;
  c.text = read_decoder_config(text);
  if (json_field(text, "use_sliding_window", false))
    fail(Exit::data, "use_sliding_window is true, which this program does not know");
  read_rope(text, c);
  c.tied = json_field(root, "tie_word_embeddings", json_field(text, "tie_word_embeddings", false));
  c.image_token_id = token("image_token_id");
  c.vision_start_token_id = token("vision_start_token_id");
  c.initializer_range = positive_field(text, "initializer_range");
  read_vision(vision, c.vision);
  read_tower(vision, c.vision);

  const DecoderConfig& d = c.text;
  const QwenVisionConfig& v = c.vision;
  const std::vector<int>& sections = c.mrope_section;
  expect_config(v.embed_dim % (4 * v.num_heads) == 0, "the vision head size must be a multiple of 4");
  expect_config(v.hidden_size == d.hidden_size, "the width that vision_config gives the merger must equal hidden_size");
  expect_config(v.temporal_patch_size == 2, "temporal_patch_size must be 2");
  expect_config(sections.size() == 3 && 2 * (sections[0] + sections[1] + sections[2]) == d.head_dim,
                "mrope_section must be three numbers that add up to half the head size");
  expect_config(c.image_token_id >= 0 && c.image_token_id < d.vocab_size, "image_token_id must lie in the vocabulary");
  return c;
}

json tiny_qwen_vl(int hidden, const char* model_type) {
  return {
      {"model_type", model_type}, {"hidden_size", hidden}, {"intermediate_size", 24}, {"num_hidden_layers", 2},
      {"num_attention_heads", 2}, {"num_key_value_heads", 1}, {"rms_norm_eps", 1e-6}, {"rope_theta", 10000.0},
      {"rope_scaling", {{"mrope_section", {hidden / 4 - 2, 1, 1}}}}, {"vocab_size", 300}, {"image_token_id", 1},
      {"vision_config", {{"depth", 1}, {"num_heads", 2}, {"patch_size", 4}}}};
}

}  // namespace vlm2vec
