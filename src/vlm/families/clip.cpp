// The forward passes and the order of rows; clip.h describes them module by module.
#include "vlm/families/clip.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"

namespace vlm2vec {

ClipTextTower::ClipTextTower(Module* parent, std::string name, const ClipConfig& c)
    : Module(parent, std::move(name)),
      token_embedding{this, "embeddings.token_embedding", c.vocab_size, c.text.width},
      position_embedding{this, "embeddings.position_embedding", c.text.positions, c.text.width},
      layers{this, "encoder.layers", c.text.layers, c.text},
      final_layer_norm{this, "final_layer_norm", c.text.width, c.text.eps} {}

InputShape Clip::input() const {
  return {.vocab_size = config_.vocab_size,
          .patch_size = config_.vision.patch_size,
          .image_size = config_.vision.image_size,
          .most_tokens = config_.text.positions};
}

// CLIPPreTrainedModel._init_weights of transformers 4.52.3. CLIPConfig has no factor of its own: it sets 1.
double Clip::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  const auto is = [&](const char* part) { return path.find(part) != path.npos; };
  if (is("text_projection")) return 1 / std::sqrt(double(config_.text.width));
  if (is("visual_projection")) return 1 / std::sqrt(double(config_.vision.width));
  const bool text = is("text_model.");
  return tower_std(text ? config_.text : config_.vision, path, text ? 0.02 : config_.vision.initializer_range);
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
  if (!batch.has_pictures()) return;
  placed.picture_rows = from_vector(batch.picture_rows);
  batch.seen_dropout_ids = from_vector(place_images(batch, placed.images));  // a picture's vector is its class row's
}

Var Clip::see(const TokenBatch& batch, const Var& patches) {
  const auto& placed = batch.placed_as<ClipPlacement>();
  const Tensor& cu = placed.images.cu_images;
  Var x = run_tower(placed.images, batch.patch_dropout_ids, patches, vision_model.layers.size());
  x = vision_model.post_layernorm(gather_rows(x, cu.rows(0, cu.numel() - 1)));
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
    x = run_layers(tower.layers, tower.layers.size(), x,
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
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote Clip::describe(const std::string& stage, const TokenBatch& batch) {
  const ClipTowerConfig& text = config_.text;
  const int64_t pictures = int64_t(batch.grids.size());
  const auto number = [&](const char* front) { return size_t(std::stoul(stage.substr(std::string(front).size()))); };
  if (stage == "input_ids") return {"the text as byte-pair tokens of its lower case, between a begin and an end token"};
  if (stage == "pixel_values")
    return {sentence("the picture's middle, ", config_.vision.image_size, "x", config_.vision.image_size,
                     " pixels of it after its shorter side was resized to that, normalised: (x/255 - mean)/std")};
  if (stage == "vision_embed" || stage.starts_with("vision_block_"))
    return describe_tower(stage, batch.placed_as<ClipPlacement>().images);
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
