#include "vlm/families/uniir.h"

#include <utf8proc.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/families/clip.h"
#include "vlm/families/open_clip.h"
#include "vlm/image/center_crop.h"
#include "vlm/image/square.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

constexpr const char* kClipPrefix = "clip_model.";

// Returns the first character in upper case, the rest, and a full stop unless it ends with . ? or !
std::string as_uniir_sentence(std::string text) {
  std::erase(text, '\r');
  const auto strip = [&](const char* ends) {
    const size_t begin = text.find_first_not_of(ends);
    text = begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(ends) - begin + 1);
  };
  strip(" \t\n\v\f"), strip("\"");
  if (text.empty()) return text;
  int32_t code = 0;
  const auto length = utf8proc_iterate(reinterpret_cast<const uint8_t*>(text.data()), int64_t(text.size()), &code);
  constexpr int32_t sharp_s = 0xDF;
  if (length > 0) {
    uint8_t upper[4];
    const auto size = utf8proc_encode_char(utf8proc_toupper(code), upper);
    text.replace(0, size_t(length),
                 code == sharp_s ? "SS" : std::string(reinterpret_cast<const char*>(upper), size_t(size)));
  }
  return std::string(".?!").find(text.back()) == std::string::npos ? text + "." : text;
}

Prompt uniir(const PromptParts& parts, const std::string& image_token) {
  const std::string instruction = as_uniir_sentence(parts.instruction),
                    text = place_pictures(parts.text, 0, image_token).text;
  Prompt prompt{as_uniir_sentence(instruction.empty() ? text : instruction + " " + text), {}};
  for (size_t i = 0; i < parts.pictures; ++i) prompt.pictures.push_back(i);
  return prompt;
}

}  // namespace

json clip_sf_config_of(const json& uniir) {
  json config = {{"model_type", "uniir-clip-sf"}};
  for (const char* heads : {"text_heads", "vision_heads"})
    if (uniir.contains(heads)) config[heads] = uniir[heads];
  return config;
}

void complete_clip_sf(json& config, const std::filesystem::path& config_file) {
  if (config.contains("text_config")) return;
  const NamedTensors weights = load_checkpoint(config_file.parent_path());
  const auto dim = [&](const std::string& name, int axis) {
    const auto found = weights.find(kClipPrefix + name);
    if (found == weights.end() || int(found->second.shape().size()) <= axis)
      fail(Exit::data, "the weights have no ", kClipPrefix, name, "; are they a CLIP_SF of UniIR?");
    return uint64_t(found->second.dim(axis));
  };
  const auto tower = [&](const std::string& front, const char* heads, uint64_t width) {
    uint64_t layers = 0;
    while (weights.contains(sentence(kClipPrefix, front, "transformer.resblocks.", layers, ".ln_1.weight"))) ++layers;
    return json{{"hidden_size", width},
                {"intermediate_size", dim(front + "transformer.resblocks.0.mlp.c_fc.weight", 0)},
                {"num_hidden_layers", layers},
                {"num_attention_heads", config.value(heads, json(std::max<uint64_t>(1, width / 64)))},
                {"hidden_act", "quick_gelu"}};
  };
  json text = tower("", "text_heads", dim("token_embedding.weight", 1)),
       vision = tower("visual.", "vision_heads", dim("visual.class_embedding", 0));
  text.update({{"vocab_size", dim("token_embedding.weight", 0)},
               {"max_position_embeddings", dim("positional_embedding", 0)},
               {"eos_token_id", 2u}});  // which stands for the largest id
  const uint64_t patch = dim("visual.conv1.weight", 2),
                 side = uint64_t(std::lround(std::sqrt(double(dim("visual.positional_embedding", 0) - 1))));
  vision.update({{"patch_size", patch}, {"image_size", side * patch}});
  config = {{"model_type", "uniir-clip-sf"},
            {"projection_dim", dim("text_projection", 1)},
            {"text_config", text},
            {"vision_config", vision}};
}

NamedTensors clip_sf_tensors_of(const NamedTensors& uniir) {
  NamedTensors plain;
  for (const auto& [name, tensor] : uniir)
    plain.emplace(name.starts_with(kClipPrefix) ? name.substr(std::string(kClipPrefix).size()) : name, tensor);
  return clip_tensors_of(plain);
}

std::unique_ptr<PictureRule> clip_sf_pictures(const json& settings) {
  if (!settings.is_object() || settings.contains("crop_size")) return open_clip_pictures(settings);
  const json size = settings.value("image_size", json(224u));
  return open_clip_pictures({{"size", size}, {"crop_size", size}});
}

std::unique_ptr<PictureRule> blip_ff_pictures(const json& settings) {
  auto rule = std::make_unique<Square>("BlipImageProcessor", "BlipProcessor");
  const bool own = settings.is_object() && !settings.contains("size");
  rule->read(own ? json{{"size", settings.value("vit", json(json::object())).value("image_size", json(224))}}
                 : settings);
  return rule;
}

json tiny_clip_sf(int hidden) {
  json tiny = tiny_clip(hidden);
  tiny["model_type"] = "uniir-clip-sf";
  return tiny;
}

std::span<const PromptStyle> uniir_prompts() {
  static const std::vector<PromptStyle> styles = [] {
    const auto shared = vlm2vec_prompts();
    std::vector<PromptStyle> all(shared.begin(), shared.end());
    all.push_back({"uniir", uniir, Instructed::queries});
    return all;
  }();
  return styles;
}

}  // namespace vlm2vec
