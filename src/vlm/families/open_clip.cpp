#include "vlm/families/open_clip.h"

#include <nlohmann/json.hpp>

#include "io/error.h"
#include "tensor/ops.h"
#include "vlm/config_fields.h"
#include "vlm/families/clip.h"
#include "vlm/image/center_crop.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Beginnings = TensorNames::Beginnings;

const Beginnings kPlaces = {{"visual.conv1.", "vision_model.embeddings.patch_embedding."},
                            {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
                            {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
                            {"visual.ln_pre.", "vision_model.pre_layrnorm."},
                            {"visual.ln_post.", "vision_model.post_layernorm."},
                            {"visual.transformer.resblocks.", "vision_model.encoder.layers."},
                            {"transformer.resblocks.", "text_model.encoder.layers."},
                            {"token_embedding.", "text_model.embeddings.token_embedding."},
                            {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                            {"ln_final.", "text_model.final_layer_norm."}};

const Beginnings kParts = {{".ln_1.", ".layer_norm1."},
                           {".ln_2.", ".layer_norm2."},
                           {".mlp.c_fc.", ".mlp.fc1."},
                           {".mlp.c_proj.", ".mlp.fc2."},
                           {".attn.out_proj.", ".self_attn.out_proj."}};

// Refuses each field of `object` that is neither known nor has the value that changes nothing.
void expect_fields(const json& object, const std::string& name, const json& known) {
  for (const auto& [field, value] : object.items())
    if (!known.contains(field) || !(known[field] == "any" || value.is_null() || value == known[field]))
      fail(Exit::data, field, " of ", name, " is ", value, ", which this program does not compute",
           known.contains(field) ? "; expected " + known[field].dump() : "");
}

// Returns a tower in transformers' words; `heads`: their number, if the file says it.
json tower_of(const json& given, const json& heads, bool quick_gelu) {
  const int64_t width = size_field(given, "width", kMostWidth);
  const double ratio = json_field(given, "mlp_ratio", 4.0);
  if (!(ratio > 0)) fail(Exit::data, "mlp_ratio is ", ratio, ", expected a positive number");
  return {{"hidden_size", uint64_t(width)},
          {"intermediate_size", uint64_t(double(width) * ratio)},
          {"num_hidden_layers", given.at("layers")},
          {"num_attention_heads", heads},
          {"hidden_act", quick_gelu ? "quick_gelu" : "gelu"}};
}

// [a, b] → [b, a], on the host.
Tensor transposed(const Tensor& x) {
  Tensor y({x.columns(), x.rows()}, x.dtype(), Device::cpu);
  const int64_t size = size_of(x.dtype()), rows = x.rows(), columns = x.columns();
  const auto* from = static_cast<const char*>(x.raw());
  auto* const to = static_cast<char*>(y.raw());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      std::copy_n(from + (r * columns + c) * size, size, to + (c * rows + r) * size);
  return y;
}

}  // namespace

json clip_config_of(const json& open_clip) {
  const json model = open_clip.at("model_cfg"), vision = model.at("vision_cfg"), text = model.at("text_cfg");
  expect_fields(model, "model_cfg",
                {{"embed_dim", "any"},
                 {"vision_cfg", "any"},
                 {"text_cfg", "any"},
                 {"quick_gelu", "any"},
                 {"custom_text", false}});
  expect_fields(vision, "vision_cfg",
                {{"image_size", "any"},
                 {"layers", "any"},
                 {"width", "any"},
                 {"patch_size", "any"},
                 {"head_width", "any"},
                 {"mlp_ratio", "any"},
                 {"patch_dropout", "any"},
                 {"pool_type", "tok"},
                 {"pos_embed_type", "learnable"},
                 {"attentional_pool", false},
                 {"no_ln_pre", false}});
  expect_fields(text, "text_cfg",
                {{"context_length", "any"},
                 {"vocab_size", "any"},
                 {"width", "any"},
                 {"heads", "any"},
                 {"layers", "any"},
                 {"mlp_ratio", "any"},
                 {"pad_id", "any"},
                 {"pool_type", "argmax"},
                 {"embed_cls", false}});
  const bool quick = json_field(model, "quick_gelu", false);
  const int64_t width = size_field(vision, "width", kMostWidth),
                head = size_field(vision, "head_width", kMostWidth, 64);
  if (width % head != 0) fail(Exit::data, "width ", width, " of vision_cfg is not a multiple of head_width ", head);
  json to_text = tower_of(text, text.at("heads"), quick), to_vision = tower_of(vision, uint64_t(width / head), quick);
  to_text.update({{"vocab_size", text.at("vocab_size")},
                  {"max_position_embeddings", text.at("context_length")},
                  {"eos_token_id", 2u}});  // which stands for the largest id
  to_vision.update({{"image_size", vision.at("image_size")}, {"patch_size", vision.at("patch_size")}});
  return {{"model_type", "openclip"},
          {"projection_dim", model.at("embed_dim")},
          {"text_config", to_text},
          {"vision_config", to_vision}};
}

NamedTensors clip_tensors_of(const NamedTensors& openai) {
  NamedTensors all;
  for (const auto& [given, stored] : openai) {
    std::string name = given;
    Tensor tensor = stored;
    if (name == "visual.proj" || name == "text_projection") {  // they stand behind x
      tensor = transposed(tensor);
      name = name == "visual.proj" ? "visual_projection.weight" : "text_projection.weight";
    }
    name = canonical_name(name, {.prefixes = kPlaces});
    for (const auto& [from, to] : kParts)
      if (const size_t at = name.find(from); at != name.npos) name.replace(at, from.size(), to);
    const std::string packed = ".attn.in_proj_";  // and weight or bias
    const size_t at = name.find(packed);
    if (at == name.npos) {
      all.emplace(name, tensor);
      continue;
    }
    const int64_t width = tensor.dim(0) / 3;
    for (int64_t i = 0; const char* part : {"q_proj.", "k_proj.", "v_proj."}) {
      all.emplace(name.substr(0, at) + ".self_attn." + part + name.substr(at + packed.size()),
                  tensor.rows(i * width, (i + 1) * width));
      ++i;
    }
  }
  return all;
}

std::unique_ptr<PictureRule> open_clip_pictures(const json& settings) {
  std::unique_ptr<PictureRule> rule;
  if (settings.is_object() && settings.contains("model_cfg")) {
    const json& given = json_field(settings, "preprocess_cfg", json(json::object()));
    const json size = settings.at("model_cfg").at("vision_cfg").at("image_size");
    expect_fields(given, "preprocess_cfg",
                  {{"size", "any"},
                   {"mode", "RGB"},
                   {"mean", "any"},
                   {"std", "any"},
                   {"interpolation", "bicubic"},
                   {"resize_mode", "shortest"},
                   {"fill_color", "any"}});
    json own = {{"size", size}, {"crop_size", size}};
    for (const char* field : {"mean", "std"})
      if (given.contains(field)) own[std::string("image_") + field] = given[field];
    rule = CenterCrop::read(own);
  } else {
    rule = CenterCrop::read(settings);
  }
  dynamic_cast<CenterCrop&>(*rule).middle = Middle::half_to_even;
  return rule;
}

json tiny_open_clip(int hidden) {
  json tiny = tiny_clip(hidden);
  tiny["model_type"] = "openclip";
  return tiny;
}

}  // namespace vlm2vec
