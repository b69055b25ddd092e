// BLIP-2's forward pass and configuration; blip.h describes it module by module.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/families/blip.h"

namespace vlm2vec {

const TensorNames& Blip2::names() const {
  static const TensorNames names{.ignored = {{"itm_head.weight", "an embedding matches no pairs"},
                                             {"itm_head.bias", "an embedding matches no pairs"},
                                             {"embeddings.position_ids", "positions are counted"}},
                                 .embedding = "embeddings.word_embeddings.weight",
                                 .image_encoder = "vision_model"};
  return names;
}

void Blip2::place(TokenBatch& batch, const Reading&) const {
  auto& placed = batch.place<BlipPlacement>();
  std::vector<int32_t> queries, cu{0}, first, one_each{0};
  std::vector<int64_t> ids;
  for (const int64_t class_id : place_both(batch, placed)) {
    first.push_back(cu.back());
    for (int32_t k = 0; k < config_.queries; ++k)
      queries.push_back(k), ids.push_back(class_id + (int64_t(k + 1) << 20));
    cu.push_back(int32_t(queries.size())), one_each.push_back(int32_t(one_each.size()));
  }
  if (!batch.has_pictures()) return;
  placed.queries = from_vector(queries), placed.cu_queries = from_vector(cu), placed.query_ids = from_vector(ids);
  placed.first_queries = from_vector(first), placed.one_each = from_vector(one_each);
}

Var Blip2::read_pictures(const BlipPlacement& placed, const Var& seen) {
  const int64_t width = config_.text.width;
  const Var tokens = view(query_tokens, {config_.queries, width});
  const Var x = layernorm(gather_rows(tokens, placed.queries, seen.value().dtype()));
  if (trace) trace("query_embed", x.value());
  return run_bert(layers, x, {placed.cu_queries, placed.query_ids}, seen, {placed.cu_pictures, placed.picture_ids},
                  true, "query_layer_");
}

Var Blip2::read_texts(const TokenBatch& batch, const Var& words) {
  const auto& placed = batch.placed_as<BlipPlacement>();
  const Var x = layernorm(words + position_embeddings(placed.positions));
  if (trace) trace("hidden_embed", x.value());
  const Var y = run_bert(layers, x, {batch.cu_seqlens, batch.dropout_ids}, {}, {}, false, "hidden_layer_");
  const Var first = gather_rows(y, placed.first);
  if (trace) trace("text_cls", first.value());
  return first;
}

Var Blip2::picture_vectors(const BlipPlacement& placed, const Var& queries) {
  if (official_features) return gather_rows(queries, placed.first_queries);
  const RowScope scope(dropout, placed.query_ids);
  const Var units = l2_normalize(vision_projection(queries));
  if (trace) trace("image_embeds", units.value());
  const int64_t pictures = placed.first_queries.numel(), n = config_.queries;
  std::vector<int32_t> rows(size_t(pictures * n));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = int32_t(i);
  const Tensor& x = units.value();
  return blend_rows(units, from_vector(rows, {pictures, n}, x.device()),
                    full({pictures, n}, 1 / double(n), x.dtype(), x.device()));
}

Var Blip2::text_vectors(const TokenBatch& batch, const Var& first) {
  if (official_features) return first;
  const RowScope scope(dropout, batch.last_dropout_ids);
  const Var units = l2_normalize(text_projection(first));
  if (trace) trace("text_embeds", units.value());
  return units;
}

// The contrastive head's score of a text and a picture: the text against the best of the query vectors.
void Blip2::trace_itc(const Var& queries, const Var& texts) const {
  const auto scores = to_vector<double>(matmul(queries.value(), texts.value(), false, true));
  trace("itc_score", from_vector(std::vector<float>{float(*std::ranges::max_element(scores))}));
}

Var Blip2::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<BlipPlacement>();
  const bool has_text = words.value().numel() > 0, pictured = bool(seen.value());
  const Tensor& any = has_text ? words.value() : seen.value();
  const Tensor nothing = zeros({batch.rows(), dim()}, any.dtype(), any.device());
  Var sum = nothing, text, queries;
  const auto add = [&](const Var& y, const Tensor& rows) {
    sum = sum + replace_rows(nothing, rows, to(y, any.dtype()));
  };
  if (has_text) add(text = text_vectors(batch, read_texts(batch, words)), placed.text_rows);
  if (pictured) {
    queries = read_pictures(placed, seen);
    if (trace) trace("query_output", queries.value());
    add(picture_vectors(placed, queries), placed.picture_rows);
  }
  if (trace && has_text && pictured && batch.rows() == 1 && !official_features)
    trace_itc(l2_normalize(vision_projection(queries)), text);
  sum = unit(sum);
  if (trace) trace("embedding", sum.value());
  return sum;
}

StageNote Blip2::describe(const std::string& stage, const TokenBatch& batch) {
  const auto& placed = batch.placed_as<BlipPlacement>();
  const int64_t queries = placed.queries ? placed.queries.numel() : 0;
  if (stage == "query_embed")
    return {sentence(config_.queries, " learned query vectors for the picture, LayerNorm"),
            numel(query_tokens.shape()) + count_parameters(layernorm)};
  if (stage.starts_with("query_layer_"))
    return describe_layer(sentence("the query vectors attend to each other, every ", config_.text.cross_every,
                                   ". layer to the picture's rows too, then pass an MLP of their own"),
                          layers, stage, placed.cu_queries);
  if (stage == "query_output") return {"the query vectors after the last layer"};
  if (stage == "image_embeds")
    return {"the query vectors in the space that texts share, each of length 1", count_parameters(vision_projection),
            product_flops(vision_projection, queries)};
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table, plus their positions, LayerNorm",
            count_parameters(word_embeddings) + count_parameters(position_embeddings)};
  if (stage.starts_with("hidden_layer_"))
    return describe_layer("each token attends to all, then passes an MLP", layers, stage, batch.cu_seqlens);
  if (stage == "text_cls") return {"the first token alone"};
  if (stage == "text_embeds")
    return {"the first token in the space that pictures share, of length 1", count_parameters(text_projection),
            product_flops(text_projection, 1)};
  if (stage == "itc_score") return {"the text's product with the best of the query vectors: BLIP-2's own score"};
  if (stage == "embedding")
    return {"the sum of the text and the mean query vector, or the one there is, divided by its length"};
  return BlipSighted::describe(stage, batch);
}

namespace {

using nlohmann::json;

// The defaults of transformers' Blip2VisionConfig and Blip2QFormerConfig.
constexpr const char* kBlip2Vision = R"({"hidden_size": 1408, "intermediate_size": 6144, "num_hidden_layers": 39,
  "num_attention_heads": 16, "image_size": 224, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
  "initializer_factor": 1.0, "initializer_range": 1e-10, "qkv_bias": true})";
constexpr const char* kQFormer = R"({"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
  "num_attention_heads": 12, "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512,
  "layer_norm_eps": 1e-12, "cross_attention_frequency": 2, "encoder_hidden_size": 1408,
  "position_embedding_type": "absolute", "use_qformer_text_input": true, "initializer_range": 0.02})";

}  // namespace

std::unique_ptr<Backbone> make_blip2(const json& root) {
  const auto fields = [&](const char* name, const char* defaults) {
    return over_defaults(json_field(root, name, json(json::object())), defaults);
  };
  const json vision = fields("vision_config", kBlip2Vision), text = fields("qformer_config", kQFormer);
  BlipConfig c;
  c.vision = read_clip_vision(vision);
  c.vision.packed = c.vision.patch_bias = true, c.vision.pre_norm = false;
  expect_config(vision["qkv_bias"] == true, "qkv_bias of vision_config must be true");
  expect_config(text["hidden_act"] == "gelu", "hidden_act of qformer_config must be gelu");
  expect_config(text["position_embedding_type"] == "absolute",
                "position_embedding_type of qformer_config must be absolute");
  expect_config(text["use_qformer_text_input"] == true,
                "use_qformer_text_input of qformer_config must be true: this checkpoint reads no texts; take one for "
                "retrieval, such as blip2-itm-vit-g");
  c.text.layers = int(size_field(text, "num_hidden_layers", kMostLayers));
  c.text.heads = int(size_field(text, "num_attention_heads", kMostHeads));
  c.text.width = size_field(text, "hidden_size", kMostWidth);
  c.text.mlp_hidden = size_field(text, "intermediate_size", kMostWidth);
  c.text.picture_width = size_field(text, "encoder_hidden_size", kMostWidth);
  c.text.eps = positive_field(text, "layer_norm_eps");
  c.text.initializer_range = positive_field(text, "initializer_range");
  c.text.cross_every = int(size_field(text, "cross_attention_frequency", kMostLayers));
  c.text.query_mlps = true;
  expect_config(c.text.width % c.text.heads == 0, "hidden_size of qformer_config is no multiple of its heads");
  expect_config(c.text.picture_width == c.vision.width,
                "encoder_hidden_size of qformer_config must be hidden_size of vision_config");
  c.vocab_size = size_field(text, "vocab_size", kMostTokens);
  c.positions = size_field(text, "max_position_embeddings", kMostTokens);
  c.most_tokens = std::min<int64_t>(c.positions, 32);  // as its code trains and evaluates
  c.queries = size_field(root, "num_query_tokens", kMostTokens, 32);
  c.projection_dim = size_field(root, "image_text_hidden_size", kMostWidth, 256);
  return std::make_unique<Blip2>(c);
}

json tiny_blip2(int hidden) {
  const json tower = {{"intermediate_size", 24},
                      {"num_hidden_layers", 2},
                      {"num_attention_heads", 2},
                      {"initializer_range", 0.2}};  // for matrices so narrow
  json text = tower, vision = tower;
  text.update({{"hidden_size", hidden}, {"vocab_size", 300}, {"encoder_hidden_size", 16}});
  vision.update({{"hidden_size", 16}, {"image_size", 16}, {"patch_size", 4}});
  return {{"model_type", "blip-2"},
          {"num_query_tokens", 4},
          {"image_text_hidden_size", 16},
          {"qformer_config", text},
          {"vision_config", vision}};
}

}  // namespace vlm2vec
