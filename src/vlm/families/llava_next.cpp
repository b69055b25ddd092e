// The forward passes and the order of rows; llava_next.h describes them module by module.
#include "vlm/families/llava_next.h"

#include <cmath>
#include <numeric>

#include "vlm/decode.h"

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
  return decode(language_model, x, token_rows(batch, placed.tokens, placed.last));
}

void LlavaNext::trace_inputs(const TokenBatch& batch) const {
  Backbone::trace_inputs(batch);
  if (batch.patches) trace("pixel_values", pixel_values(batch));
}

StageNote LlavaNext::describe(const std::string& stage, const TokenBatch& batch) {
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
  return describe_decoder(stage, batch, config_.text, language_model);
}

}  // namespace vlm2vec
