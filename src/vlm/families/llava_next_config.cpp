// Reads config.json of LLaVA-NeXT and refuses settings that this program does not know; and its prompts.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/text.h"
#include "vlm/config_fields.h"
#include "vlm/families/clip.h"
#include "vlm/families/llava_next.h"
#include "vlm/image/anyres.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// The defaults of transformers' MistralConfig and LlamaConfig, and of the whole's vision_config. That of Mistral's
// sliding_window is complete_llava_next's.
constexpr const char* kMistralDefaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
  "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu",
  "rms_norm_eps": 1e-6, "initializer_range": 0.02, "rope_theta": 10000.0})";
constexpr const char* kLlamaDefaults = R"({"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
  "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu", "rms_norm_eps": 1e-6,
  "initializer_range": 0.02, "rope_theta": 10000.0})";
constexpr const char* kVisionWhole = R"({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
  "num_attention_heads": 16, "image_size": 336, "patch_size": 14})";

void read_rope(const json& text, DecoderConfig& d) {
  d.rope_theta = positive_field(text, "rope_theta");
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    if (!text.contains(name)) continue;
    const json& rope = text.at(name);
    if (rope.contains("rope_theta")) d.rope_theta = positive_field(rope, "rope_theta");
    for (const char* field : {"rope_type", "type"})
      if (const auto type = json_field(rope, field, std::string("default")); type != "default")
        fail(Exit::data, "the rotary embedding of text_config is of type ", json(type), " (", name,
             "), expected default");
    expect_config(!has_value(rope, "factor"), "the rotary embedding of text_config must have no factor");
  }
}

DecoderConfig read_text_config(const json& text, bool mistral) {
  DecoderConfig d = read_decoder_config(text);
  read_rope(text, d);
  d.attention_bias = false;
  if (mistral && text.contains("sliding_window")) d.window = int(size_field(text, "sliding_window", kMostTokens));
  for (const char* bias : {"attention_bias", "mlp_bias"})
    expect_config(!json_field(text, bias, false), "attention_bias and mlp_bias of text_config must be false");
  return d;
}

size_t layers_that_run(const json& root, int layers) {
  const json layer = json_field(root, "vision_feature_layer", json(-2));
  const int number = layer.is_number_integer() ? int(layer) + (layer < 0 ? layers + 1 : 0) : -1;
  if (number < 0 || number > layers)
    fail(Exit::data, "vision_feature_layer is ", layer, ", expected one of the tower's ", layers,
         " layers, such as -2");
  return size_t(number);
}

}  // namespace

std::unique_ptr<Backbone> make_llava_next(const json& root) {
  const json given = json_field(root, "text_config", json(json::object()));
  const auto type = json_field(given, "model_type", std::string("llama"));
  const bool mistral = type == "mistral";
  if (!mistral && type != "llama")
    fail(Exit::data, "model_type of text_config is ", json(type), ", expected mistral or llama");
  const json text = over_defaults(given, mistral ? kMistralDefaults : kLlamaDefaults);
  LlavaNextConfig c;
  c.text = read_text_config(text, mistral);
  const json vision = json_field(root, "vision_config", json::parse(kVisionWhole));
  if (const auto tower = json_field(vision, "model_type", std::string("clip_vision_model"));
      tower != "clip_vision_model")
    fail(Exit::data, "model_type of vision_config is ", json(tower), ", expected clip_vision_model");
  c.vision = read_clip_vision(vision);
  c.vision_layers = layers_that_run(root, c.vision.layers);
  c.canvases = read_canvases(root, c.vision.image_size);
  const char* const token = root.contains("image_token_id") ? "image_token_id" : "image_token_index";
  c.image_token_id = int(size_field(root, token, c.text.vocab_size - 1, 32000));
  c.initializer_range = positive_field(text, "initializer_range");
  c.tied = json_field(root, "tie_word_embeddings", json_field(text, "tie_word_embeddings", false));
  c.projector_bias = json_field(root, "multimodal_projector_bias", true);
  const auto expect = [&](const char* field, const std::string& wanted) {
    if (const auto value = json_field(root, field, wanted); value != wanted)
      fail(Exit::data, field, " is ", json(value), ", expected ", wanted);
  };
  expect("projector_hidden_act", "gelu"), expect("vision_feature_select_strategy", "default");
  return std::make_unique<LlavaNext>(std::move(c));
}

// A sliding_window that is not there is Mistral's 4096, but null, as in published models, is none.
void complete_llava_next(json& config, const std::filesystem::path& config_file) {
  const json file = read_json(config_file);
  const auto text = file.find("text_config");
  if (text != file.end() && text->is_object() && text->value("model_type", json()) == "mistral" &&
      !text->contains("sliding_window"))
    config["text_config"]["sliding_window"] = 4096u;
}

json tiny_llava_next(int hidden) {
  const json text = {{"model_type", "mistral"}, {"hidden_size", hidden},    {"intermediate_size", 24},
                     {"num_hidden_layers", 2},  {"num_attention_heads", 2}, {"num_key_value_heads", 1},
                     {"sliding_window", 20},    {"vocab_size", 300}};
  const json vision = {{"hidden_size", 16},        {"intermediate_size", 24}, {"num_hidden_layers", 2},
                       {"num_attention_heads", 2}, {"image_size", 8},         {"patch_size", 4}};
  return {{"model_type", "llava_next"},
          {"image_token_index", 1},
          {"text_config", text},
          {"vision_config", vision},
          {"image_grid_pinpoints", {{8, 16}, {16, 8}, {16, 16}}}};
}

std::string portable_llava_next(const std::string& given) {
  using nlohmann::ordered_json;
  const ordered_json before = ordered_json::parse(given);
  ordered_json config = before;
  if (has_value(config, "text_config")) {
    ordered_json& text = config["text_config"];
    if (const auto rope = text.find("rope_parameters"); rope != text.end() && rope->contains("rope_theta"))
      text["rope_theta"] = ordered_json(rope->at("rope_theta"));
  }
  if (has_value(config, "dtype") && !has_value(config, "torch_dtype")) config["torch_dtype"] = config["dtype"];
  return config == before ? given : config.dump(2) + "\n";
}

namespace {

// The prompts of retrieval.py in github.com/kongds/E5-V, its spelling of "desribe" too.
struct E5Question {
  const char* picture;  // asks for a picture without words
  const char *before = "Modify this image with \"", *behind = "\", desribe modified image in one word:";  // the words
};
Prompt ask_e5_v(const PromptParts& parts, const std::string& image_token, const E5Question& question) {
  if (!parts.instruction.empty())
    fail(Exit::data, "has an instruction, but E5-V's prompts have none; put it into the text");
  if (parts.pictures > 1) fail(Exit::data, "has ", parts.pictures, " pictures, but E5-V's prompts have one at most");
  std::string words = parts.text;
  if (parts.pictures > 0) {
    words = place_pictures(words, parts.pictures, image_token).text;
    const bool placed = words.find(image_token) != words.npos;  // as rows of MMEB have it
    for (size_t at; (at = words.find(image_token)) != words.npos;) words.erase(at, image_token.size());
    if (placed) words = strip(words, " \n");
  }
  const std::string asked =
      parts.pictures == 0 ? words + "\nSummary above sentence in one word: "
      : words.empty()     ? image_token + question.picture
                          : image_token + question.before + words + question.behind;
  Prompt prompt{"<|start_header_id|>user<|end_header_id|>\n\n" + asked +
                    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n",
                {}};
  if (parts.pictures > 0) prompt.pictures = {0};
  return prompt;
}
Prompt e5_v(const PromptParts& parts, const std::string& image_token) {
  return ask_e5_v(parts, image_token, {"\nSummary above image in one word: "});
}
Prompt e5_v_cir(const PromptParts& parts, const std::string& image_token) {
  return ask_e5_v(parts, image_token, {"\n Describe this image in one word:"});
}
// FashionIQ's three parts: toptee, too, is asked for as a shirt.
Prompt e5_v_dress(const PromptParts& parts, const std::string& image_token) {
  return ask_e5_v(parts, image_token,
                  {"\n Describe this dress in one word based on its style:", " change the style of this dress to ",
                   "\n Desribe this modified dress in one word based on its style:"});
}
Prompt e5_v_shirt(const PromptParts& parts, const std::string& image_token) {
  return ask_e5_v(parts, image_token,
                  {"\n Describe this shirt in one word based on its style:", " change the style of this shirt to ",
                   "\n Desribe this modified shirt in one word based on its style:"});
}

}  // namespace

std::span<const PromptStyle> llava_next_prompts() {
  static const std::vector<PromptStyle> styles = [] {
    std::vector<PromptStyle> all(vlm2vec_prompts().begin(), vlm2vec_prompts().end());
    all.insert(all.end(), {{"e5-v", e5_v, Instructed::none},
                           {"e5-v-cir", e5_v_cir, Instructed::none},
                           {"e5-v-dress", e5_v_dress, Instructed::none},
                           {"e5-v-shirt", e5_v_shirt, Instructed::none}});
    return all;
  }();
  return styles;
}

}  // namespace vlm2vec
