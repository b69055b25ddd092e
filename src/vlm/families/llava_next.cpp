// The forward passes and the order of rows; llava_next.h describes them module by module.
#include "vlm/families/llava_next.h"

#include <cmath>
#include <numeric>

namespace vlm2vec {
namespace {

// Appends the rows of a picture's tokens among [all projected patches, newline]: the view of the whole, then the lines
// of the tiles' patches that are not padding, each with the newline behind it.
void append_tokens(const Grid& grid, int32_t first, int32_t newline, std::vector<int32_t>& order) {
  const int32_t tile = grid.h * grid.w;
  for (int32_t i = 0; i < tile; ++i) order.push_back(first + i);
  const int top = (grid.tile_rows * grid.h - grid.seen_rows) / 2,
            left = (grid.tile_columns * grid.w - grid.seen_columns) / 2;
  for (int y = top; y < top + grid.seen_rows; ++y) {
    for (int x = left; x < left + grid.seen_columns; ++x)
      order.push_back(first + (1 + y / grid.h * grid.tile_columns + x / grid.w) * tile + y % grid.h * grid.w +
                      x % grid.w);
    order.push_back(newline);
  }
}

}  // namespace

LlavaProjector::LlavaProjector(Module* parent, std::string name, const LlavaNextConfig& c)
    : Module(parent, std::move(name)),
      linear_1{this, "linear_1", c.vision.width, c.text.hidden_size, c.projector_bias},
      linear_2{this, "linear_2", c.text.hidden_size, c.text.hidden_size, c.projector_bias} {}

InputShape LlavaNext::input() const {
  return {.vocab_size = config_.text.vocab_size,
          .image_token_id = config_.image_token_id,
          .patch_size = config_.vision.patch_size,
          .image_size = config_.vision.image_size,
          .canvases = config_.canvases};
}

// LlavaNextPreTrainedModel._init_weights: newline vectors are drawn with 1/sqrt(hidden).
double LlavaNext::initial_std(const Parameter& parameter) const {
  const std::string path = parameter.path();
  if (path.starts_with("vision_tower.")) return tower_std(config_.vision, path, config_.vision.initializer_range);
  return path == "image_newline" ? 1 / std::sqrt(double(dim())) : config_.initializer_range;
}

const TensorNames& LlavaNext::names() const {
  static const TensorNames names{
      .prefixes = {{"model.language_model.", "language_model.model."},  // transformers 4.52, adapters of later versions
                   {"model.vision_tower.vision_model.", "vision_tower.vision_model."},
                   {"model.vision_tower.", "vision_tower.vision_model."},
                   {"vision_tower.vision_model.", "vision_tower.vision_model."},
                   {"vision_tower.", "vision_tower.vision_model."},
                   {"model.multi_modal_projector.", "multi_modal_projector."},
                   {"model.image_newline", "image_newline"},
                   {"language_model.model.", "language_model.model."},
                   {"language_model.lm_head.", "language_model.lm_head."},
                   {"language_model.", "language_model.model."},  // saved from AutoModel
                   {"lm_head.", "language_model.lm_head."}},
      .nested = {{"language_model.model.", "model.language_model."},
                 {"vision_tower.", "model.vision_tower."},
                 {"multi_modal_projector.", "model.multi_modal_projector."}},
      .ignored = {{"lm_head.weight", "embeddings need no language-model head"},
                  {"rotary_emb.inv_freq", "rotary frequencies follow from config.json"},
                  {"embeddings.position_ids", "positions are counted"}},
      .embedding = "language_model.model.embed_tokens.weight",
      .head = "language_model.lm_head.weight",
      .image_encoder = "vision_tower"};
  return names;
}

void LlavaNext::place(TokenBatch& batch, const Reading&) const {
  const auto cu = to_vector<int32_t>(batch.cu_seqlens);
  std::vector<int32_t> positions(size_t(batch.ids.numel())), last;
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    std::iota(positions.begin() + cu[row], positions.begin() + cu[row + 1], 0);
    last.push_back(cu[row + 1] - cu[row] - 1);
  }
  const auto angles = [&](std::span<const int32_t> p) {
    const int half = config_.text.head_dim / 2;
    return text_rotary(p, config_.text.head_dim, config_.text.rope_theta, {&half, 1});
  };
  auto& placed = batch.place<LlavaPlacement>();
  placed.tokens = angles(positions), placed.last = angles(last);
  if (batch.has_pictures()) place_pictures(batch, placed);
}

void LlavaNext::place_pictures(TokenBatch& batch, LlavaPlacement& placed) const {
  place_images(batch, placed.images);
  const auto positions = to_vector<int32_t>(placed.images.positions);
  std::vector<int32_t> patches, order;
  for (size_t row = 0; row < positions.size(); ++row)
    if (positions[row] > 0) patches.push_back(int32_t(row));
  int32_t first = 0;
  for (const Grid& grid : batch.grids) {
    append_tokens(grid, first, int32_t(patches.size()), order);
    first += grid.patches();
  }
  placed.patches = from_vector(patches), placed.order = from_vector(order);
}

Var LlavaNext::see(const TokenBatch& batch, const Var& patches) {
  const auto& placed = batch.placed_as<LlavaPlacement>();
  const Var x = run_tower(placed.images, batch.patch_dropout_ids, patches, config_.vision_layers);
  return gather_rows(x, placed.patches);
}

Var LlavaNext::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<LlavaPlacement>();
  Var x = words;
  if (seen.value()) {
    const RowScope rows(dropout, batch.seen_dropout_ids);
    const Var projected = multi_modal_projector(seen);
    if (trace) trace("projected_tiles", projected.value());
    const Var newline = to(view(image_newline, {1, dim()}), projected.value().dtype());
    const Var tokens = gather_rows(concat_rows({projected, newline}), placed.order);
    if (trace) trace("image_tokens", tokens.value());
    x = replace_rows(words, batch.image_rows, tokens);
  }
  if (trace) trace("hidden_embed", x.value());
  const TokenRows rows{batch.cu_seqlens, placed.tokens,     batch.last_rows,       batch.one_each,
                       placed.last,      batch.dropout_ids, batch.last_dropout_ids};
  // The last layer computes only each sequence's last row, unless a trace wants all rows.
  const size_t last = language_model.layers.size() - 1;
  for (size_t i = 0; i <= last; ++i) {
    const auto layer = [this, &layer = language_model.layers[i], rows, only_last = !trace && i == last](const Var& h) {
      return layer(h, rows, dropout, only_last);
    };
    x = run(layer, x);
    if (trace) trace("hidden_layer_" + std::to_string(i), x.value());
  }
  if (trace) trace("hidden_final", language_model.norm(x).value());
  if (trace) x = gather_rows(x, batch.last_rows);
  x = unit(language_model.norm(x));
  if (trace) trace("embedding", x.value());
  return x;
}

void LlavaNext::trace_inputs(const TokenBatch& batch) const {
  Backbone::trace_inputs(batch);
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote LlavaNext::describe(const std::string& stage, const TokenBatch& batch) {
  const DecoderConfig& t = config_.text;
  const int64_t tokens = batch.ids.numel();
  const auto& placed = batch.placed_as<LlavaPlacement>();
  if (stage == "input_ids")
    return {sentence("the prompt as byte-pair tokens, of which those of pictures (",
                     batch.image_rows ? batch.image_rows.numel() : 0, ") stand for a patch or the end of a line each")};
  if (stage == "pixel_values")
    return {sentence("the whole picture and its tiles, ", config_.vision.image_size, "x", config_.vision.image_size,
                     " pixels each, normalised: (x/255 - mean)/std")};
  if (stage.starts_with("vision_")) return describe_tower(stage, placed.images);
  if (stage == "projected_tiles")
    return {"two layers bring each patch to the decoder's width; the class rows are left out",
            count_parameters(multi_modal_projector), product_flops(multi_modal_projector, placed.patches.numel())};
  if (stage == "image_tokens")
    return {
        "the whole picture line by line, then the tiles put together, without the padding around and with a learned "
        "vector at the end of each line",
        image_newline.shape()[0]};
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table, with pictures in the place of image tokens",
            count_parameters(language_model.embed_tokens)};
  if (stage.starts_with("hidden_layer_")) {
    DecoderLayer& layer = language_model.layers[size_t(std::stoul(stage.substr(13)))];
    return {sentence("each token attends to itself and those before it (", t.num_attention_heads, " heads of queries, ",
                     t.num_key_value_heads, " of keys and values), then passes a SwiGLU MLP"),
            count_parameters(layer),
            product_flops(layer, tokens) +
                attention_flops(batch.cu_seqlens, int64_t(t.num_attention_heads) * t.head_dim, true)};
  }
  if (stage == "hidden_final") return {"RMSNorm of every token", count_parameters(language_model.norm)};
  return {"the last token alone, divided by its length: the embedding of the input"};
}

}  // namespace vlm2vec
