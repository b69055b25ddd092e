// UniIR's BLIP_FF: its forward pass, configuration and spelling of names; blip.h describes it module by module.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/families/blip.h"

namespace vlm2vec {
namespace {

// tanh(x) is the softmax over x and -x of +1 and -1: an attention of each number to these two.
Var tanh_of(const Var& x) {
  const Tensor& X = x.value();
  const auto device = X.device();
  const auto signs = [&] { return from_vector(std::vector<float>{1, -1}, {2, 1}, device).to(X.dtype()); };
  const auto ends = [&](int64_t rows) { return from_vector(std::vector<int32_t>{0, int32_t(rows)}, device); };
  return attention(x, signs(), signs(), ends(X.rows()), ends(2), {int(X.columns()), 1, 1, false, 1});
}

}  // namespace

InputShape BlipFf::input() const {
  InputShape input = BlipSighted::input();
  input.always_text = true;
  return input;
}

const TensorNames& BlipFf::names() const {
  static const TensorNames names{.ignored = {{"embeddings.position_ids", "positions are counted"}},
                                 .embedding = "text_model.embeddings.word_embeddings.weight",
                                 .image_encoder = "vision_model"};
  return names;
}

void BlipFf::place(TokenBatch& batch, const Reading&) const {
  auto& placed = batch.place<BlipPlacement>();
  place_both(batch, placed);
  const int32_t n = int32_t(config_.vision.positions), rows = int32_t(batch.rows());
  std::vector<int32_t> picture_of(size_t(rows), int32_t(batch.picture_rows.size()));  // the blank one comes last
  for (size_t i = 0; i < batch.picture_rows.size(); ++i) picture_of[size_t(batch.picture_rows[i])] = int32_t(i);
  const auto seen_ids = batch.has_pictures() ? to_vector<int64_t>(batch.seen_dropout_ids) : std::vector<int64_t>();
  std::vector<int32_t> keys, cu{0};
  std::vector<int64_t> key_ids, blank_ids;
  for (int32_t i = 0; i < n; ++i) blank_ids.push_back(i);
  for (const int32_t picture : picture_of) {
    for (int32_t i = 0; i < n; ++i) {
      const int32_t row = picture * n + i;
      keys.push_back(row), key_ids.push_back(size_t(row) < seen_ids.size() ? seen_ids[size_t(row)] : i);
    }
    cu.push_back(int32_t(keys.size()));
  }
  placed.cu_pictures = from_vector(cu), placed.picture_ids = from_vector(key_ids);
  placed.keys = from_vector(keys);
  if (int32_t(batch.picture_rows.size()) == rows) return;
  std::vector<int32_t> order(static_cast<size_t>(n));
  for (int32_t i = 0; i < n; ++i) order[size_t(i)] = i;  // the class row, then the patches
  placed.blank = {from_vector(std::vector<int32_t>{0, n}), from_vector(order), from_vector(order)};
  placed.blank_ids = from_vector(blank_ids);
}

// A picture whose normalised pixels are 0.
Var BlipFf::blank_picture(const BlipPlacement& placed, DType type, Device device) {
  const int64_t side = config_.vision.patch_size;
  const Var patches = zeros({config_.vision.positions - 1, 3 * side * side}, type, device);
  return vision_model.post_layernorm(run_tower(placed.blank, placed.blank_ids, patches, vision_model.layers.size()));
}

Var BlipFf::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<BlipPlacement>();
  std::vector<Var> parts;
  if (seen.value()) parts.push_back(seen);
  if (placed.blank_ids.defined()) {
    parts.push_back(blank_picture(placed, words.value().dtype(), words.value().device()));
    if (trace) trace("blank_picture", parts.back().value());
  }
  const Var pictures = gather_rows(parts.size() == 1 ? parts[0] : concat_rows(parts), placed.keys);
  Var x = norm(words + position_embeddings(placed.positions));
  if (trace) trace("hidden_embed", x.value());
  x = run_bert(layers, x, {batch.cu_seqlens, batch.dropout_ids}, pictures, {placed.cu_pictures, placed.picture_ids},
               false, "hidden_layer_");
  {
    const RowScope scope(dropout, batch.last_dropout_ids);
    x = tanh_of(pooler(gather_rows(x, placed.first)));
  }
  if (trace) trace("pooled", x.value());
  x = unit(x);
  if (trace) trace("embedding", x.value());
  return x;
}

StageNote BlipFf::describe(const std::string& stage, const TokenBatch& batch) {
  if (stage == "blank_picture") return {"the rows of a mean gray picture, where a row has none"};
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table, plus their positions, LayerNorm",
            count_parameters(word_embeddings) + count_parameters(position_embeddings) + count_parameters(norm)};
  if (stage.starts_with("hidden_layer_"))
    return describe_layer("each token attends to all, then to the picture's rows, then passes an MLP", layers, stage,
                          batch.cu_seqlens);
  if (stage == "pooled")
    return {"the first token alone, through a matrix and tanh", count_parameters(pooler), product_flops(pooler, 1)};
  if (stage == "embedding") return {"that vector divided by its length: the embedding of the input"};
  return BlipSighted::describe(stage, batch);
}

namespace {

using nlohmann::json;
using Beginnings = TensorNames::Beginnings;

// BLIP's large ViT and BERT-base, as UniIR trains them.
constexpr const char* kVit =
    R"({"image_size": 224, "patch_size": 16, "embed_dim": 1024, "depth": 24, "num_heads": 16,
  "initializer_range": 0.02})";
constexpr const char* kMed = R"({"hidden_size": 768, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
  "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 12, "vocab_size": 30524,
  "hidden_act": "gelu", "encoder_width": 1024, "initializer_range": 0.02})";
constexpr int64_t kUniirTokens = 100;  // tokenizer_max_length

const Beginnings kBlipPlaces = {{"visual_encoder.cls_token", "vision_model.embeddings.class_embedding"},
                                {"visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"},
                                {"visual_encoder.patch_embed.proj.", "vision_model.embeddings.patch_embedding."},
                                {"visual_encoder.blocks.", "vision_model.encoder.layers."},
                                {"visual_encoder.norm.", "vision_model.post_layernorm."},
                                {"text_encoder.", "text_model."}};
const Beginnings kBlipParts = {{".norm1.", ".layer_norm1."},
                               {".norm2.", ".layer_norm2."},
                               {".attn.qkv.", ".self_attn.qkv."},
                               {".attn.proj.", ".self_attn.projection."},
                               {"attention.self.", "attention.attention."}};

}  // namespace

json blip_ff_config_of(const json& uniir) {
  const auto fields = [&](const char* name, const char* defaults) {
    return over_defaults(json_field(uniir, name, json(json::object())), defaults);
  };
  return {{"model_type", "uniir-blip-ff"},
          {"vit", fields("vit", kVit)},
          {"med_config", fields("med_config", kMed)},
          {"tokenizer_max_length", uint64_t(size_field(uniir, "tokenizer_max_length", kMostTokens, kUniirTokens))}};
}

NamedTensors blip_ff_tensors_of(const NamedTensors& uniir) {
  NamedTensors all;
  for (const auto& [given, tensor] : uniir) {
    // Copies that follow the weights in training, its queues and its temperature.
    const bool of_training = given.starts_with("visual_encoder_m.") || given.starts_with("text_encoder_m.") ||
                             given.ends_with("_queue") || given == "temp";
    if (of_training) continue;
    std::string name = canonical_name(given, {.prefixes = kBlipPlaces});
    for (const auto& [from, to] : kBlipParts)
      if (const size_t at = name.find(from); at != name.npos) name.replace(at, from.size(), to);
    all.emplace(name, tensor);
  }
  return all;
}

std::unique_ptr<Backbone> make_blip_ff(const json& root) {
  const json config = blip_ff_config_of(root), &vit = config.at("vit"), &med = config.at("med_config");
  BlipConfig c;
  c.vision = read_clip_vision({{"hidden_size", vit.at("embed_dim")},
                               {"intermediate_size", uint64_t(4 * size_field(vit, "embed_dim", kMostWidth))},
                               {"num_hidden_layers", vit.at("depth")},
                               {"num_attention_heads", vit.at("num_heads")},
                               {"image_size", vit.at("image_size")},
                               {"patch_size", vit.at("patch_size")},
                               {"hidden_act", "gelu"},
                               {"layer_norm_eps", 1e-6},
                               {"initializer_range", vit.at("initializer_range")}});
  c.vision.packed = c.vision.patch_bias = true, c.vision.pre_norm = false;
  expect_config(med["hidden_act"] == "gelu", "hidden_act of med_config must be gelu");
  c.text.layers = int(size_field(med, "num_hidden_layers", kMostLayers));
  c.text.heads = int(size_field(med, "num_attention_heads", kMostHeads));
  c.text.width = size_field(med, "hidden_size", kMostWidth);
  c.text.mlp_hidden = size_field(med, "intermediate_size", kMostWidth);
  c.text.picture_width = c.vision.width;
  c.text.initializer_range = positive_field(med, "initializer_range");
  c.text.eps = positive_field(med, "layer_norm_eps");
  expect_config(c.text.width % c.text.heads == 0, "hidden_size of med_config is no multiple of its heads");
  expect_config(size_field(med, "encoder_width", kMostWidth) == c.vision.width,
                "encoder_width of med_config must be embed_dim of vit");
  c.vocab_size = size_field(med, "vocab_size", kMostTokens);
  c.positions = size_field(med, "max_position_embeddings", kMostTokens);
  c.most_tokens = std::min(c.positions, size_field(config, "tokenizer_max_length", kMostTokens));
  return std::make_unique<BlipFf>(c);
}

json tiny_blip_ff(int hidden) {
  constexpr double deviation = 0.2;  // for matrices so narrow
  const json vit = {{"image_size", 16}, {"patch_size", 4}, {"embed_dim", 16},
                    {"depth", 2},       {"num_heads", 2},  {"initializer_range", deviation}};
  const json med = {{"hidden_size", hidden},
                    {"intermediate_size", 24},
                    {"num_hidden_layers", 2},
                    {"num_attention_heads", 2},
                    {"vocab_size", 300},
                    {"encoder_width", 16},
                    {"max_position_embeddings", 100},
                    {"initializer_range", deviation}};
  return {{"model_type", "uniir-blip-ff"}, {"vit", vit}, {"med_config", med}};
}

}  // namespace vlm2vec
