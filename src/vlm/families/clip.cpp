// The forward passes and the order of rows; clip.h describes them module by module.
#include "vlm/families/clip.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"

namespace vlm2vec {

ClipAttention::ClipAttention(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      k_proj{this, "k_proj", c.width, c.width, true},
      v_proj{this, "v_proj", c.width, c.width, true},
      q_proj{this, "q_proj", c.width, c.width, true},
      out_proj{this, "out_proj", c.width, c.width, true},
      shape_{c.heads, c.heads, int(c.width / c.heads), c.causal, 1 / std::sqrt(double(c.width / c.heads))} {}

Var ClipAttention::operator()(const Var& x, const ClipRows& rows) const {
  Var k = k_proj(x), v = v_proj(x);
  if (rows.keys) k = gather_rows(k, rows.keys), v = gather_rows(v, rows.keys);
  return out_proj(attention(q_proj(x), k, v, rows.cu_queries, rows.cu_keys, shape_));
}

ClipMlp::ClipMlp(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      fc1{this, "fc1", c.width, c.mlp_hidden, true},
      fc2{this, "fc2", c.mlp_hidden, c.width, true},
      activation_(c.activation) {}

ClipLayer::ClipLayer(Module* parent, std::string name, const ClipTowerConfig& c)
    : Module(parent, std::move(name)),
      self_attn{this, "self_attn", c},
      layer_norm1{this, "layer_norm1", c.width, c.eps},
      mlp{this, "mlp", c},
      layer_norm2{this, "layer_norm2", c.width, c.eps} {}

Var ClipLayer::operator()(const Var& x, const ClipRows& rows) const {
  const Var h = x + self_attn(layer_norm1(x), rows);
  return h + mlp(layer_norm2(h));
}

ClipTextTower::ClipTextTower(Module* parent, std::string name, const ClipConfig& c)
    : Module(parent, std::move(name)),
      token_embedding{this, "embeddings.token_embedding", c.vocab_size, c.text.width},
      position_embedding{this, "embeddings.position_embedding", c.text.positions, c.text.width},
      layers{this, "encoder.layers", c.text.layers, c.text},
      final_layer_norm{this, "final_layer_norm", c.text.width, c.text.eps} {}

ClipVisionTower::ClipVisionTower(Module* parent, std::string name, const ClipConfig& c)
    : Module(parent, std::move(name)),
      class_embedding(this, "embeddings.class_embedding", {c.vision.width}),
      patch_embedding(this, "embeddings.patch_embedding.weight", {c.vision.width, 3, c.patch_size, c.patch_size}),
      position_embedding{this, "embeddings.position_embedding", c.vision.positions, c.vision.width},
      pre_layrnorm{this, "pre_layrnorm", c.vision.width, c.vision.eps},
      layers{this, "encoder.layers", c.vision.layers, c.vision},
      post_layernorm{this, "post_layernorm", c.vision.width, c.vision.eps} {}

InputShape Clip::input() const {
  return {.vocab_size = config_.vocab_size,
          .patch_size = config_.patch_size,
          .image_size = config_.image_size,
          .most_tokens = config_.text.positions};
}

// CLIPPreTrainedModel._init_weights of transformers 4.52.3. CLIPConfig has no factor of its own: it sets 1.
double Clip::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  const auto is = [&](const char* part) { return path.find(part) != path.npos; };
  if (is("text_projection")) return 1 / std::sqrt(double(config_.text.width));
  if (is("visual_projection")) return 1 / std::sqrt(double(config_.vision.width));
  const bool text = is("text_model.");
  const ClipTowerConfig& tower = text ? config_.text : config_.vision;
  const double by_width = 1 / std::sqrt(double(tower.width)), by_depth = 1 / std::sqrt(2.0 * tower.layers);
  const double plain = is("class_embedding") || is("out_proj") ? by_width
                       : is("embeddings.")                     ? (text ? 0.02 : tower.initializer_range)
                       : is("fc1")                             ? by_width / std::sqrt(2.0)
                                                               : by_width * by_depth;  // q, k, v and fc2
  return plain * tower.initializer_factor;
}

const TensorNames& Clip::names() const {
  static const TensorNames names{.ignored = {{"embeddings.position_ids", "positions are counted"}},
                                 .embedding = "text_model.embeddings.token_embedding.weight",
                                 .image_encoder = "vision_model"};
  return names;
}

size_t Clip::end_of_text(std::span<const int32_t> ids) const {
  constexpr int64_t legacy = 2;
  const bool largest = config_.eos_token_id == legacy;
  const auto end = largest ? std::ranges::max_element(ids) : std::ranges::find(ids, int32_t(config_.eos_token_id));
  if (end == ids.end())
    fail(Exit::data, "config.json: eos_token_id of text_config is ", config_.eos_token_id,
         ", but the tokenizer ends no text with that token; do the two belong together?");
  return size_t(end - ids.begin());
}

void Clip::place(TokenBatch& batch, const Reading& reading) const {
  const auto ids = to_vector<int32_t>(batch.ids), cu = to_vector<int32_t>(batch.cu_seqlens);
  const auto dropout_ids = to_vector<int64_t>(batch.dropout_ids);
  std::vector<int32_t> positions, text_rows, pooled, keys, cu_queries{0}, cu_keys{0};
  std::vector<int64_t> pooled_ids;
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    const int32_t begin = cu[row], tokens = cu[row + 1] - begin;
    if (tokens == 0) continue;
    for (int32_t i = 0; i < tokens; ++i) positions.push_back(i);
    const int32_t end = begin + int32_t(end_of_text({&ids[size_t(begin)], size_t(tokens)}));
    text_rows.push_back(int32_t(row)), pooled.push_back(end), pooled_ids.push_back(dropout_ids[size_t(end)]);
    // Official mask: words and the end token attend to the words, later tokens to each other.
    const auto attend = [&](int32_t queries_end, int32_t first, int32_t last) {
      for (int32_t key = first; key < last; ++key) keys.push_back(key);
      cu_queries.push_back(queries_end), cu_keys.push_back(int32_t(keys.size()));
    };
    attend(end, begin, end), attend(end + 1, begin, end), attend(begin + tokens, end + 1, begin + tokens);
  }
  auto& placed = batch.place<ClipPlacement>();
  placed.positions = from_vector(positions);
  placed.text_rows = from_vector(text_rows), placed.pooled = from_vector(pooled);
  batch.last_dropout_ids = from_vector(pooled_ids);
  if (reading.official_mask)
    placed.keys = from_vector(keys), placed.cu_queries = from_vector(cu_queries), placed.cu_keys = from_vector(cu_keys);
  if (batch.has_pictures()) place_pictures(batch, placed);
}

// Puts a class row before each picture's patches. It and its projection have the dropout id of the picture's vector.
void Clip::place_pictures(TokenBatch& batch, ClipPlacement& placed) const {
  const auto patch_ids = to_vector<int64_t>(batch.patch_dropout_ids),
             seen_ids = to_vector<int64_t>(batch.seen_dropout_ids);
  std::vector<int32_t> cu_images{0}, order, positions;
  std::vector<int64_t> row_ids, class_ids;
  for (int32_t first = 0; const Grid& grid : batch.grids) {
    class_ids.push_back(seen_ids[size_t(first)]);
    for (int32_t i = 0; i <= grid.patches(); ++i) {
      order.push_back(i == 0 ? 0 : first + i), positions.push_back(i);  // row 0 is the class row, patch p row p + 1
      row_ids.push_back(i == 0 ? class_ids.back() : patch_ids[size_t(first + i - 1)]);
    }
    first += grid.patches(), cu_images.push_back(int32_t(order.size()));
  }
  placed.cu_images = from_vector(cu_images), placed.picture_rows = from_vector(batch.picture_rows);
  placed.image_order = from_vector(order), placed.row_positions = from_vector(positions);
  batch.patch_dropout_ids = from_vector(row_ids), batch.seen_dropout_ids = from_vector(class_ids);
}

Var Clip::run_layers(ModuleList<ClipLayer>& layers, Var x, const ClipRows& rows, const std::string& stage) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto layer = [this, &layer = layers[i], rows](const Var& h) {  // may run again in the backward pass
      const RowScope scope(dropout, rows.dropout_ids);
      return layer(h, rows);
    };
    x = run(layer, x);
    if (trace) trace(stage + std::to_string(i), x.value());
  }
  return x;
}

Var Clip::see(const TokenBatch& batch, const Var& patches) {
  const auto& placed = batch.placed_as<ClipPlacement>();
  ClipVisionTower& tower = vision_model;
  const int64_t width = config_.vision.width, pictures = placed.cu_images.numel() - 1;
  // A convolution with stride = kernel is a product with flattened patches.
  const Var embedded = linear(patches, view(tower.patch_embedding, {width, -1}), {},
                              precision() == Precision::bf16_products);
  const Var class_row = to(view(tower.class_embedding, {1, width}), embedded.value().dtype());
  const Var with_class = concat_rows({class_row, embedded});
  Var x = gather_rows(with_class, placed.image_order) + tower.position_embedding(placed.row_positions);
  x = tower.pre_layrnorm(x);
  if (trace) trace("vision_embed", x.value());
  x = run_layers(tower.layers, x, {placed.cu_images, placed.cu_images, {}, batch.patch_dropout_ids}, "vision_block_");
  x = tower.post_layernorm(gather_rows(x, placed.cu_images.rows(0, pictures)));
  if (trace) trace("vision_pooled", x.value());
  return x;
}

Var Clip::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<ClipPlacement>();
  const bool has_text = words.value().numel() > 0;
  const Tensor& any = has_text ? words.value() : seen.value();
  const Tensor nothing = zeros({batch.rows(), dim()}, any.dtype(), any.device());
  Var sum = nothing;
  const auto add = [&](const char* stage, const Linear& projection, const Var& x, const Tensor& rows,
                       const Tensor& ids) {
    const RowScope scope(dropout, ids);
    const Var y = projection(x);
    if (trace) trace(stage, y.value());
    sum = sum + replace_rows(nothing, rows, y);
  };
  if (has_text) {
    ClipTextTower& tower = text_model;
    Var x = words + tower.position_embedding(placed.positions);
    if (trace) trace("hidden_embed", x.value());
    const bool masked = placed.keys.defined();
    x = run_layers(tower.layers, x,
                   {masked ? placed.cu_queries : batch.cu_seqlens, masked ? placed.cu_keys : batch.cu_seqlens,
                    placed.keys, batch.dropout_ids},
                   "hidden_layer_");
    if (trace) trace("hidden_final", tower.final_layer_norm(x).value());
    add("text_embeds", text_projection, tower.final_layer_norm(gather_rows(x, placed.pooled)), placed.text_rows,
        batch.last_dropout_ids);
  }
  if (seen.value())
    add("image_embeds", visual_projection, seen, placed.picture_rows, batch.seen_dropout_ids);
  sum = unit(sum);
  if (trace) trace("embedding", sum.value());
  return sum;
}

void Clip::trace_inputs(const TokenBatch& batch) const {
  if (batch.ids.numel() > 0) Backbone::trace_inputs(batch);
  if (!batch.patches) return;
  // The reference's layout [pictures, 3, height, width], from lines of patch_size pixels.
  const int32_t p = config_.patch_size, side = config_.image_size / p, patches = side * side;
  std::vector<int32_t> lines;
  for (int32_t picture = 0; picture < int32_t(batch.grids.size()); ++picture)
    for (int32_t channel = 0; channel < 3; ++channel)
      for (int32_t y = 0; y < config_.image_size; ++y)
        for (int32_t x = 0; x < side; ++x)
          lines.push_back(((picture * patches + y / p * side + x) * 3 + channel) * p + y % p);
  const Tensor order = from_vector(lines, batch.patches.device());
  trace("pixel_values",
        gather_rows(batch.patches.view({-1, p}), order).view({-1, 3, config_.image_size, config_.image_size}));
}

StageNote Clip::describe(const std::string& stage, const TokenBatch& batch) {
  const ClipTowerConfig &text = config_.text, &vision = config_.vision;
  const int64_t pictures = int64_t(batch.grids.size()), patches = pictures * (vision.positions - 1);
  const auto number = [&](const char* front) { return size_t(std::stoul(stage.substr(std::string(front).size()))); };
  if (stage == "input_ids") return {"the text as byte-pair tokens of its lower case, between a begin and an end token"};
  if (stage == "pixel_values")
    return {sentence("the picture's middle, ", config_.image_size, "x", config_.image_size,
                     " pixels of it after its shorter side was resized to that, normalised: (x/255 - mean)/std")};
  if (stage == "vision_embed")
    return {sentence("a class row and a row for each patch of ", config_.patch_size, "x", config_.patch_size,
                     " pixels, plus their positions, LayerNorm"),
            numel(vision_model.class_embedding.shape()) + numel(vision_model.patch_embedding.shape()) +
                count_parameters(vision_model.position_embedding) + count_parameters(vision_model.pre_layrnorm),
            2.0 * double(patches) * double(numel(vision_model.patch_embedding.shape()))};
  if (stage.starts_with("vision_block_")) {
    ClipLayer& layer = vision_model.layers[number("vision_block_")];
    return {sentence("the class row and all patches attend to each other (", vision.heads,
                     " heads), then each passes an MLP"),
            count_parameters(layer),
            product_flops(layer, patches + pictures) +
                attention_flops(batch.placed_as<ClipPlacement>().cu_images, vision.width, false)};
  }
  if (stage == "vision_pooled")
    return {"the class row alone stands for the picture, LayerNorm", count_parameters(vision_model.post_layernorm)};
  if (stage == "image_embeds")
    return {"the picture in the space that texts share", count_parameters(visual_projection),
            product_flops(visual_projection, pictures)};
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table, plus their positions",
            count_parameters(text_model.token_embedding) + count_parameters(text_model.position_embedding)};
  if (stage.starts_with("hidden_layer_")) {
    ClipLayer& layer = text_model.layers[number("hidden_layer_")];
    return {sentence("each token attends to itself and those before it (", text.heads, " heads), then passes an MLP"),
            count_parameters(layer),
            product_flops(layer, batch.ids.numel()) + attention_flops(batch.cu_seqlens, text.width, true)};
  }
  if (stage == "hidden_final") return {"LayerNorm of every token", count_parameters(text_model.final_layer_norm)};
  if (stage == "text_embeds")
    return {"the end token alone, in the space that pictures share", count_parameters(text_projection),
            product_flops(text_projection, 1)};
  return {"the sum of text and picture, or the one there is, divided by its length: the embedding of the input"};
}

}  // namespace vlm2vec
