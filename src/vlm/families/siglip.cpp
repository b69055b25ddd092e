#include "vlm/families/siglip.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {

SiglipPooling::Attention::Attention(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      in_proj_weight{this, "in_proj_weight", {3 * c.width, c.width}},
      in_proj_bias{this, "in_proj_bias", {3 * c.width}},
      out_proj{this, "out_proj", c.width, c.width, true} {}

Var SiglipPooling::Attention::project(const Var& x) const {
  return linear(x, in_proj_weight, in_proj_bias, precision() == Precision::bf16_products);
}

SiglipPooling::SiglipPooling(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      probe{this, "probe", {1, 1, c.width}},
      attention{this, "attention", c},
      layernorm{this, "layernorm", c.width, c.eps},
      mlp{this, "mlp", c},
      shape_{c.heads, c.heads,      int(c.width / c.heads), false, 1 / std::sqrt(double(c.width / c.heads)),
             0,       int(c.width), int(2 * c.width)} {}

Var SiglipPooling::operator()(const Var& patches, const ClipImages& images) const {
  const int64_t pictures = images.cu_images.numel() - 1, width = patches.value().columns();
  const Device device = patches.value().device();
  std::vector<int32_t> one_each(size_t(pictures) + 1);
  for (size_t i = 0; i < one_each.size(); ++i) one_each[i] = int32_t(i);
  const Tensor first = from_vector(std::vector<int32_t>{0}, device);
  const Var query = attention.project(gather_rows(view(probe, {1, width}), first, patches.value().dtype()));
  const Var queries = gather_rows(query, from_vector(std::vector<int32_t>(size_t(pictures), 0), device));
  const Var keys = attention.project(patches);
  const Var x = attention.out_proj(vlm2vec::attention(queries, keys, keys, from_vector(one_each, device),
                                                      images.cu_images, in_precision_of(*this, shape_)));
  return x + mlp(layernorm(x));
}

// A text is filled up to all positions with tokens of its end, which its words see.
InputShape Siglip::input() const {
  InputShape input = DualEncoder::input();
  input.padded = true;
  return input;
}

// As SiglipPreTrainedModel._init_weights of transformers 4.52.3, but with normal numbers for its uniform ones: Xavier's
// of a matrix has the variance 2 / (rows + columns), Lecun's of the patches 1 / columns.
double Siglip::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  const auto is = [&](const char* part) { return path.find(part) != path.npos; };
  if (is("logit_")) return 0;
  const int64_t rows = parameter.shape()[0], columns = numel(parameter.shape()) / rows;
  if (is("patch_embedding")) return 1 / std::sqrt(double(columns));
  if (is("embeddings.")) return 1 / std::sqrt(double(is("text_model.") && is("token") ? 1 : config_.vision.width));
  return std::sqrt(2 / double(rows + columns));
}

const TensorNames& Siglip::names() const {
  static const TensorNames names{.ignored = {{"embeddings.position_ids", "positions are counted"}},
                                 .embedding = "text_model.embeddings.token_embedding.weight",
                                 .image_encoder = "vision_model"};
  return names;
}

Var Siglip::pooled_pictures(const ClipImages& images, const Var& rows) {
  return pooling(vision_model.post_layernorm(rows), images);
}

StageNote Siglip::describe_pooled(const ClipImages& images) {
  const int64_t rows = images.order.numel();
  return {"LayerNorm of every patch; a learned query attends to them, then an MLP: the picture's vector",
          count_parameters(vision_model.post_layernorm) + count_parameters(pooling), product_flops(pooling, rows)};
}

StageNote Siglip::describe(const std::string& stage, const TokenBatch& batch) {
  if (stage == "input_ids")
    return {"the text's pieces in lower case, without punctuation, filled up with the end token"};
  if (stage == "pixel_values")
    return {sentence("the picture, resized to ", config_.vision.image_size, "x", config_.vision.image_size,
                     " pixels, normalised: (x/255 - mean)/std; what fills no patch is left out")};
  return DualEncoder::describe(stage, batch);
}

namespace {

using nlohmann::json;

// The defaults of transformers' SiglipTextConfig and SiglipVisionConfig.
constexpr const char* kSiglipText = R"({"vocab_size": 32000, "hidden_size": 768, "intermediate_size": 3072,
  "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 64,
  "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "initializer_factor": 1.0})";
constexpr const char* kSiglipVision = R"({"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
  "num_attention_heads": 12, "num_channels": 3, "image_size": 224, "patch_size": 16,
  "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "initializer_factor": 1.0, "vision_use_head": true})";

}  // namespace

std::unique_ptr<Backbone> make_siglip(const json& root) {
  const auto fields = [&](const char* name, const char* defaults) {
    return over_defaults(json_field(root, name, json(json::object())), defaults);
  };
  const json text = fields("text_config", kSiglipText), vision = fields("vision_config", kSiglipVision);
  DualConfig c;
  c.text = read_clip_tower(text, "text_config");
  c.text.positions = size_field(text, "max_position_embeddings", kMostTokens);
  c.vocab_size = size_field(text, "vocab_size", kMostTokens);
  c.vision = read_clip_tower(vision, "vision_config");
  c.vision.class_row = c.vision.pre_norm = false, c.vision.patch_bias = true;
  c.vision.image_size = int(size_field(vision, "image_size", 1 << 14));
  c.vision.patch_size = int(size_field(vision, "patch_size", c.vision.image_size));
  expect_config(vision["num_channels"] == 3, "num_channels of vision_config must be 3");
  expect_config(vision["vision_use_head"] == true, "vision_use_head of vision_config must be true");
  const int64_t side = c.vision.image_size / c.vision.patch_size;
  c.vision.positions = side * side;
  c.projection_dim = size_field(text, "projection_size", kMostWidth, c.text.width);
  if (c.projection_dim != c.vision.width)
    fail(Exit::data, "texts have vectors of ", c.projection_dim, " numbers, pictures of ", c.vision.width,
         "; projection_size of text_config and hidden_size of vision_config must agree");
  return std::make_unique<Siglip>(c);
}

json tiny_siglip(int hidden) {
  const json tower = {{"intermediate_size", 24}, {"num_hidden_layers", 2}, {"num_attention_heads", 2}};
  json text = tower, vision = tower;
  text.update({{"hidden_size", hidden}, {"vocab_size", 300}, {"projection_size", 16}});
  vision.update({{"hidden_size", 16}, {"image_size", 18}, {"patch_size", 4}});
  return {{"model_type", "siglip"}, {"text_config", text}, {"vision_config", vision}};
}

}  // namespace vlm2vec
