// The forward passes and the order of rows; dual_encoder.h describes them module by module.
#include "vlm/families/dual_encoder.h"

namespace vlm2vec {

ClipTextTower::ClipTextTower(Module* parent, std::string name, const DualConfig& c)
    : Module(parent, std::move(name)),
      token_embedding{this, "embeddings.token_embedding", c.vocab_size, c.text.width},
      position_embedding{this, "embeddings.position_embedding", c.text.positions, c.text.width},
      layers{this, "encoder.layers", c.text.layers, c.text},
      final_layer_norm{this, "final_layer_norm", c.text.width, c.text.eps} {}

InputShape DualEncoder::input() const {
  return {.vocab_size = config_.vocab_size,
          .patch_size = config_.vision.patch_size,
          .image_size = config_.vision.image_size,
          .most_tokens = config_.text.positions};
}

void DualEncoder::place(TokenBatch& batch, const Reading& reading) const {
  const auto ids = to_vector<int32_t>(batch.ids), cu = to_vector<int32_t>(batch.cu_seqlens);
  const auto dropout_ids = to_vector<int64_t>(batch.dropout_ids);
  std::vector<int32_t> positions, text_rows, pooled, keys, cu_queries{0}, cu_keys{0};
  std::vector<int64_t> pooled_ids;
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    const int32_t begin = cu[row], tokens = cu[row + 1] - begin;
    if (tokens == 0) continue;
    for (int32_t i = 0; i < tokens; ++i) positions.push_back(i);
    const int32_t end = begin + int32_t(pooled_token({&ids[size_t(begin)], size_t(tokens)}));
    text_rows.push_back(int32_t(row)), pooled.push_back(end), pooled_ids.push_back(dropout_ids[size_t(end)]);
    // Official mask: words and the end token attend to the words, later tokens to each other.
    const auto attend = [&](int32_t queries_end, int32_t first, int32_t last) {
      for (int32_t key = first; key < last; ++key)
        if (config_.text.causal || ids[size_t(key)] != ids[size_t(end)]) keys.push_back(key);
      cu_queries.push_back(queries_end), cu_keys.push_back(int32_t(keys.size()));
    };
    attend(end + !config_.text.causal, begin, end);
    if (config_.text.causal) attend(end + 1, begin, end);
    if (end + 1 < begin + tokens) attend(begin + tokens, end + 1, begin + tokens);
  }
  auto& placed = batch.place<DualPlacement>();
  placed.positions = from_vector(positions);
  placed.text_rows = from_vector(text_rows), placed.pooled = from_vector(pooled);
  batch.last_dropout_ids = from_vector(pooled_ids);
  if (reading.official_mask)
    placed.keys = from_vector(keys), placed.cu_queries = from_vector(cu_queries), placed.cu_keys = from_vector(cu_keys);
  if (!batch.has_pictures()) return;
  placed.picture_rows = from_vector(batch.picture_rows);
  batch.seen_dropout_ids = from_vector(place_images(batch, placed.images));  // a picture has one vector
}

Var DualEncoder::see(const TokenBatch& batch, const Var& patches) {
  const ClipImages& images = batch.placed_as<DualPlacement>().images;
  const Var rows = run_tower(images, batch.patch_dropout_ids, patches, vision_model.layers.size());
  const RowScope scope(dropout, batch.seen_dropout_ids);
  const Var x = pooled_pictures(images, rows);
  if (trace) trace("vision_pooled", x.value());
  return x;
}

Var DualEncoder::read_texts(const TokenBatch& batch, const Var& words) {
  const auto& placed = batch.placed_as<DualPlacement>();
  Var x = words + text_model.position_embedding(placed.positions);
  if (trace) trace("hidden_embed", x.value());
  const bool masked = placed.keys.defined();
  x = run_layers(text_model.layers, text_model.layers.size(), x,
                 {masked ? placed.cu_queries : batch.cu_seqlens, masked ? placed.cu_keys : batch.cu_seqlens,
                  placed.keys, batch.dropout_ids},
                 "hidden_layer_");
  if (trace) trace("hidden_final", text_model.final_layer_norm(x).value());
  return text_model.final_layer_norm(gather_rows(x, placed.pooled));
}

Var DualEncoder::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<DualPlacement>();
  const bool has_text = words.value().numel() > 0;
  const Tensor& any = has_text ? words.value() : seen.value();
  const Tensor nothing = zeros({batch.rows(), dim()}, any.dtype(), any.device());
  Var sum = nothing;
  const auto add = [&](const char* stage, const Linear* projection, const Var& x, const Tensor& rows,
                       const Tensor& ids) {
    const RowScope scope(dropout, ids);
    const Var y = projection ? (*projection)(x) : x;
    if (trace) trace(stage, y.value());
    sum = sum + replace_rows(nothing, rows, y);
  };
  if (has_text) add("text_embeds", &text_head(), read_texts(batch, words), placed.text_rows, batch.last_dropout_ids);
  if (seen.value()) add("image_embeds", picture_head(), seen, placed.picture_rows, batch.seen_dropout_ids);
  sum = unit(sum);
  if (trace) trace("embedding", sum.value());
  return sum;
}

void DualEncoder::trace_inputs(const TokenBatch& batch) const {
  if (batch.ids.numel() > 0) Backbone::trace_inputs(batch);
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote DualEncoder::describe(const std::string& stage, const TokenBatch& batch) {
  const ClipTowerConfig& text = config_.text;
  const ClipImages& images = batch.placed_as<DualPlacement>().images;
  const int64_t pictures = int64_t(batch.grids.size());
  const auto number = [&](const char* front) { return size_t(std::stoul(stage.substr(std::string(front).size()))); };
  if (stage == "vision_embed" || stage.starts_with("vision_block_")) return describe_tower(stage, images);
  if (stage == "vision_pooled") return describe_pooled(images);
  if (stage == "image_embeds") {
    Linear* const head = picture_head();
    return {"the picture in the space that texts share", head ? count_parameters(*head) : 0,
            head ? product_flops(*head, pictures) : 0};
  }
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table, plus their positions",
            count_parameters(text_model.token_embedding) + count_parameters(text_model.position_embedding)};
  if (stage.starts_with("hidden_layer_")) {
    ClipLayer& layer = text_model.layers[number("hidden_layer_")];
    return {sentence("each token attends to ", text.causal ? "itself and those before it (" : "all (", text.heads,
                     " heads), then passes an MLP"),
            count_parameters(layer),
            product_flops(layer, batch.ids.numel()) + attention_flops(batch.cu_seqlens, text.width, text.causal)};
  }
  if (stage == "hidden_final") return {"LayerNorm of every token", count_parameters(text_model.final_layer_norm)};
  if (stage == "text_embeds")
    return {"the token that stands for the text, in the space that pictures share", count_parameters(text_head()),
            product_flops(text_head(), 1)};
  return {"the sum of text and picture, or the one there is, divided by its length: the embedding of the input"};
}

}  // namespace vlm2vec
