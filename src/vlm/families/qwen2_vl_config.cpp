// config.json of Qwen2-VL: read, and refused where it asks for what this program does not know.
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "vlm/families/qwen2_vl.h"
#include "vlm/json_field.h"

namespace vlm2vec {

namespace {

using nlohmann::json;

// A whole number from 1 to `most`: what the program allocates and loops over. Without `otherwise` it must be there.
int64_t size_field(const json& object, const char* key, int64_t most, int64_t otherwise = 0) {
  if (otherwise > 0 && !object.contains(key)) return otherwise;
  const json& value = object.at(key);
  if (!value.is_number_unsigned() || value < 1 || value > most)
    fail(Exit::data, key, " is ", value, ", expected a whole number from 1 to ", most);
  return value;
}

double positive(const json& object, const char* key) {
  const json& value = object.at(key);
  if (!value.is_number() || !(value > 0)) fail(Exit::data, key, " is ", value, ", expected a positive number");
  return value;
}

// Other families are refused by their names.
void check_family(const json& config) {
  const auto type = config.is_object() ? config.find("model_type") : config.end();
  if (type == config.end() || !type->is_string())
    fail(Exit::data, "has no model_type; is this the config.json of a Hugging Face model?");
  if (*type == "qwen2_vl") return;
  static const std::map<std::string, std::string> others = {{"qwen2_5_vl", "Qwen2.5-VL"},
                                                            {"qwen3_vl", "Qwen3-VL"},
                                                            {"qwen2", "Qwen2, which sees no pictures"},
                                                            {"llava_next", "LLaVA-NeXT"},
                                                            {"llava", "LLaVA-1.5"},
                                                            {"phi3_v", "Phi-3-vision or Phi-3.5-vision"},
                                                            {"blip-2", "BLIP-2"},
                                                            {"clip", "CLIP"},
                                                            {"siglip", "SigLIP"},
                                                            {"llava_onevision", "LLaVA-OneVision"}};
  const auto other = others.find(*type);
  fail(Exit::data, "model_type is ", *type, other == others.end() ? "" : ": this is " + other->second,
       "; this program runs Qwen2-VL (qwen2_vl)");
}

// Refuses quantised weights, which this program cannot read.
void check_precision(const json& config) {
  for (const char* field : {"quantization_config", "compression_config"})
    if (config.contains(field)) {
      const json& how = config.at(field);
      const json method = how.value("quant_method", how.value("format", json("a method without a name")));
      const char* const bits = how.value("load_in_4bit", false)   ? " in 4 bits"
                               : how.value("load_in_8bit", false) ? " in 8 bits"
                                                                  : "";
      fail(Exit::data, field, " says that the weights are quantised by ", method.get<std::string>(), bits,
           "; quantised weights are not read: take the model that they were made from");
    }
}

Qwen2VlConfig parse_model(const json& root) {
  constexpr int64_t most_layers = 1000, most_heads = 1 << 12, most_width = 1 << 20, most_tokens = 1 << 24;
  Qwen2VlConfig c;
  check_family(root);
  check_precision(root);
  const json& text = root.contains("text_config") ? root.at("text_config") : root;
  const json& vision = root.at("vision_config");
  const auto token = [&](const char* key) {
    const json& from = root.contains(key) ? root : text;
    if (!from.contains(key)) return -1;
    return from[key] == 0 ? 0 : int(size_field(from, key, most_tokens));
  };
  DecoderConfig& d = c.text;
  d.vocab_size = size_field(text, "vocab_size", most_tokens);
  d.hidden_size = size_field(text, "hidden_size", most_width);
  d.intermediate_size = size_field(text, "intermediate_size", most_width);
  d.num_hidden_layers = int(size_field(text, "num_hidden_layers", most_layers));
  d.num_attention_heads = int(size_field(text, "num_attention_heads", most_heads));
  d.num_key_value_heads = int(size_field(text, "num_key_value_heads", most_heads));
  d.head_dim =
      int(text.contains("head_dim") ? size_field(text, "head_dim", most_width) : d.hidden_size / d.num_attention_heads);
  d.rms_norm_eps = positive(text, "rms_norm_eps");
  if (json_field(text, "hidden_act", std::string("silu")) != "silu")
    fail(Exit::data, "hidden_act is ", text["hidden_act"], ", expected silu");
  if (json_field(text, "use_sliding_window", false))
    fail(Exit::data, "use_sliding_window is true, which this program does not know");
  // transformers 5 writes rope_parameters. Missing values get its defaults, which the published models use.
  const json none = json::object();
  const char* const rope_name = text.contains("rope_scaling") ? "rope_scaling" : "rope_parameters";
  const json& rope = text.contains(rope_name) ? text.at(rope_name) : none;
  const json& theta = rope.contains("rope_theta") ? rope : text;
  d.rope_theta = theta.contains("rope_theta") ? positive(theta, "rope_theta") : 1e6;
  const json sections = rope.value("mrope_section", json{16u, 24u, 24u});
  for (const json& section : sections.get_ref<const json::array_t&>()) {
    if (!section.is_number_unsigned() || section > most_width || c.mrope_section.size() == 3)
      fail(Exit::data, "mrope_section is ", sections, ", expected three whole numbers");
    c.mrope_section.push_back(section);
  }
  for (const char* name : {"rope_type", "type"})
    if (const auto type = json_field(rope, name, std::string("mrope")); type != "mrope" && type != "default")
      fail(Exit::data, "the rotary embedding is of type ", json(type), " (", name, "), expected mrope or default");
  c.tied = json_field(root, "tie_word_embeddings", json_field(text, "tie_word_embeddings", false));
  c.image_token_id = token("image_token_id");
  c.vision_start_token_id = token("vision_start_token_id");
  c.initializer_range = text.contains("initializer_range") ? positive(text, "initializer_range") : 0.02;
  VisionConfig& v = c.vision;
  v.depth = int(size_field(vision, "depth", most_layers));
  v.embed_dim = size_field(vision, "embed_dim", most_width);
  v.num_heads = int(size_field(vision, "num_heads", most_heads));
  v.hidden_size = size_field(vision, "hidden_size", most_width);
  v.patch_size = int(size_field(vision, "patch_size", 1024, 14));
  v.spatial_merge_size = int(size_field(vision, "spatial_merge_size", 64, 2));
  v.temporal_patch_size = int(size_field(vision, "temporal_patch_size", 64, 2));
  v.mlp_hidden = int64_t((vision.contains("mlp_ratio") ? positive(vision, "mlp_ratio") : 4.0) * double(v.embed_dim));
  const json vision_rope = json_field(vision, "rope_parameters", none);
  if (vision_rope.value("rope_theta", json(10000)) != 10000 || vision_rope.value("rope_type", json("axial")) != "axial")
    fail(Exit::data, "rope_parameters of vision_config are ", vision_rope, ", expected rope_theta 10000 and axial");
  if (vision.contains("in_channels") && vision["in_channels"] != 3)
    fail(Exit::data, "in_channels is ", vision["in_channels"], ", expected 3");
  if (json_field(vision, "hidden_act", std::string("quick_gelu")) != "quick_gelu")
    fail(Exit::data, "vision hidden_act is ", vision["hidden_act"], ", expected quick_gelu");

  const auto expect = [](bool ok, const char* what) {
    if (!ok) fail(Exit::data, what);
  };
  expect(d.head_dim > 0 && d.num_attention_heads % d.num_key_value_heads == 0,
         "num_attention_heads must be a multiple of num_key_value_heads, hidden_size at least as large");
  expect(v.embed_dim % (4 * v.num_heads) == 0, "the vision head size must be a multiple of 4");
  expect(v.mlp_hidden > 0 && v.mlp_hidden <= most_width, "mlp_ratio times embed_dim is out of bounds");
  expect(v.hidden_size == d.hidden_size, "vision_config.hidden_size (what the merger puts out) must equal hidden_size");
  expect(v.temporal_patch_size == 2, "temporal_patch_size must be 2");
  expect(
      c.mrope_section.size() == 3 && 2 * (c.mrope_section[0] + c.mrope_section[1] + c.mrope_section[2]) == d.head_dim,
      "mrope_section must be three numbers that add up to half the head size");
  expect(c.image_token_id >= 0 && c.image_token_id < d.vocab_size, "image_token_id must lie in the vocabulary");
  return c;
}

}  // namespace

Qwen2VlConfig Qwen2VlConfig::load(const std::filesystem::path& file) {
  const json root = read_settings(file);
  try {
    return parse_model(root);
  } catch (const json::exception& e) {
    fail(Exit::data, file.string(), ": a field is missing or of the wrong type (", reason_of(e), ")");
  } catch (const Error& e) {
    fail(e.code, file.string(), ": ", e.what());
  }
}

}  // namespace vlm2vec
