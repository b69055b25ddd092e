// The forward passes; qwen_vl.h describes them module by module.
#include "vlm/families/qwen_vl.h"

#include <cmath>

#include "vlm/decode.h"

namespace vlm2vec {

QwenPatchEmbed::QwenPatchEmbed(Module* parent, std::string name, const QwenVisionConfig& c, bool with_bias)
    : Module(parent, std::move(name)),
      weight(this, "proj.weight", {c.embed_dim, 3, c.temporal_patch_size, c.patch_size, c.patch_size}),
      bias(with_bias ? std::make_unique<Parameter>(this, "proj.bias", Shape{c.embed_dim}) : nullptr),
      frames_(c.temporal_patch_size) {}

Var QwenPatchEmbed::operator()(const Var& patches) const {
  const Shape& s = weight.shape();
  const int64_t slices = s[0] * s[1];
  const Var by_frame = view(weight, {slices * frames_, s[3] * s[4]});
  Var sum;
  if (rows_.empty())
    for (int64_t frame = 0; frame < frames_; ++frame) {
      std::vector<int32_t> rows(static_cast<size_t>(slices));
      for (int64_t i = 0; i < slices; ++i) rows[size_t(i)] = int32_t(i * frames_ + frame);
      rows_.push_back(from_vector(rows, {slices}, weight.value().device()));
    }
  for (int64_t frame = 0; frame < frames_; ++frame) {
    const Var slice = gather_rows(by_frame, rows_[size_t(frame)], acc_of(weight.value().dtype()));
    sum = frame == 0 ? slice : sum + slice;
  }
  return linear(patches, view(sum, {s[0], s[1] * s[3] * s[4]}), bias ? static_cast<const Var&>(*bias) : Var(),
                precision() == Precision::bf16_products);
}

QwenVisionAttention::QwenVisionAttention(Module* parent, std::string name, const QwenVisionConfig& c)
    : Module(parent, std::move(name)),
      qkv{this, "qkv", c.embed_dim, 3 * c.embed_dim, true},
      proj{this, "proj", c.embed_dim, c.embed_dim, true},
      shape_{c.num_heads, c.num_heads,      c.head_dim(),        false, 1 / std::sqrt(double(c.head_dim())),
             0,           int(c.embed_dim), int(2 * c.embed_dim)} {}

Var QwenVisionAttention::operator()(const Var& x, const Tensor& cu_seqlens, const RopeTable& angles) const {
  return proj(attention(rope(qkv(x), angles, 2 * shape_.heads), cu_seqlens, in_precision_of(*this, shape_)));
}

InputShape QwenVl::input() const {
  const QwenVisionConfig& v = config_.vision;
  return {config_.text.vocab_size, config_.image_token_id, v.patch_size, v.spatial_merge_size, v.temporal_patch_size};
}

const TensorNames& qwen_names() {
  static const TensorNames names{
      .prefixes = {{"model.language_model.", "model."},  // transformers since 4.52
                   {"language_model.", "model."},        // saved from AutoModel, as sentence-transformers does
                   {"model.visual.", "visual."}},
      .nested = {{"visual.", "model.visual."}, {"model.", "model.language_model."}},
      .ignored = {{"lm_head.weight", "embeddings need no language-model head"},
                  {"rotary_emb.inv_freq", "rotary frequencies follow from config.json"},
                  {"rotary_pos_emb.inv_freq", "rotary frequencies follow from config.json"}},
      .embedding = "model.embed_tokens.weight",
      .head = "lm_head.weight",
      .image_encoder = "visual"};
  return names;
}

void QwenVl::place(TokenBatch& batch, const Reading& reading) const {
  const auto ids = to_vector<int32_t>(batch.ids), cu = to_vector<int32_t>(batch.cu_seqlens);
  const int64_t tokens = batch.ids.numel();
  const int merge = config_.vision.spatial_merge_size;
  auto& placed = batch.place<QwenPlacement>();
  std::vector<int32_t> all(size_t(3 * tokens)), last;
  size_t picture = 0;
  for (size_t row = 0; row + 1 < cu.size(); ++row) {
    const size_t begin = size_t(cu[row]), n = size_t(cu[row + 1]) - begin, first = picture;
    while (picture < batch.grids.size() && batch.picture_rows[picture] == int32_t(row)) ++picture;
    const bool none = reading.positions == ImagePositions::one_d && batch.uncounted[row];
    const auto place = mrope_positions({&ids[begin], n}, std::span(batch.grids).subspan(first, picture - first),
                                       config_.vision_start_token_id, config_.image_token_id, merge,
                                       none ? ImagePositions::none : reading.positions);
    for (size_t stream = 0; stream < 3; ++stream)
      std::copy_n(&place[stream * n], n, &all[stream * size_t(tokens) + begin]);
  }
  for (size_t stream = 0; stream < 3; ++stream)
    for (size_t row = 1; row < cu.size(); ++row) last.push_back(all[stream * size_t(tokens) + size_t(cu[row]) - 1]);
  const auto angles = [&](std::span<const int32_t> p) {
    return text_rotary(p, config_.text.head_dim, config_.text.rope_theta, config_.mrope_section,
                       config_.mrope_interleaved);
  };
  placed.tokens = angles(all), placed.last = angles(last);
  placed.position_ids = from_vector(all, {3, tokens});
  if (!batch.has_pictures()) return;
  std::vector<int32_t> cu_patches{0};
  for (const Grid& g : batch.grids)
    for (int t = 0; t < g.t; ++t) cu_patches.push_back(cu_patches.back() + g.h * g.w);
  placed.cu_patches = from_vector(cu_patches);
  placed.patches = vision_rotary(batch.grids, config_.vision.head_dim(), merge);
}

Var QwenVl::read(const TokenBatch& batch, const Var& words, const Var& seen) {
  const auto& placed = batch.placed_as<QwenPlacement>();
  const std::vector<Tensor>& parts = placed.features;
  Var x = words;
  if (seen.value()) x = replace_rows(x, batch.image_rows, parts.empty() ? seen : gather_rows(seen, parts[0]));
  const TokenRows rows = token_rows(batch, placed.tokens, placed.last);
  const auto add_deepstack = [&](size_t layer, const Var& h) {
    const Var of_pictures = gather_rows(h, batch.image_rows) + gather_rows(seen, parts[layer + 1]);
    const Var sum = replace_rows(h, batch.image_rows, of_pictures);
    if (trace) trace("hidden_deepstack_" + std::to_string(layer), sum.value());
    return sum;
  };
  return decode(decoder(), x, rows, add_deepstack, parts.empty() ? 0 : parts.size() - 1);
}

void QwenVl::trace_inputs(const TokenBatch& batch) const {
  Backbone::trace_inputs(batch);
  trace("position_ids", batch.placed_as<QwenPlacement>().position_ids);
  if (!batch.patches) return;
  std::vector<int32_t> grids;
  for (const Grid& g : batch.grids) grids.insert(grids.end(), {g.t, g.h, g.w});
  trace("image_grid_thw", from_vector(grids, {int64_t(batch.grids.size()), 3}));
  // The reference's layout: each channel's frames one after another; a still picture's frames are equal.
  const int64_t frames = config_.vision.temporal_patch_size, channels = 3;
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < batch.patches.rows() * channels; ++i) rows.insert(rows.end(), size_t(frames), int32_t(i));
  const Tensor by_channel = batch.patches.view({-1, batch.patches.columns() / channels});
  trace("pixel_values", gather_rows(by_channel, from_vector(rows, by_channel.device()))
                            .view({batch.patches.rows(), -1}));
}

StageNote QwenVl::describe(const std::string& stage, const TokenBatch& batch) {
  const QwenVisionConfig& v = config_.vision;
  const int64_t patches = batch.patches ? batch.patches.rows() : 0;
  const int merge = v.spatial_merge_size;
  if (stage == "input_ids")
    return {sentence("the prompt as byte-pair tokens, of which those of pictures (",
                     batch.image_rows ? batch.image_rows.numel() : 0, ") stand for ", merge, "x", merge,
                     " patches each")};
  if (stage == "position_ids")
    return {
        "each token's position in time, height and width: equal for text; M-RoPE rotates a part of each head by each "
        "of the three"};
  if (stage == "image_grid_thw") return {"the frames, rows and columns of patches of each picture"};
  if (stage == "pixel_values")
    return {sentence("the resized picture in patches of ", v.patch_size, "x", v.patch_size,
                     " pixels, normalised: (x/255 - mean)/std")};
  if (stage.starts_with("vision_block_")) {
    const size_t i = std::stoul(stage.substr(13));
    const bool first = i == 0;  // with the embedding of the patches
    const auto& placed = batch.placed_as<QwenPlacement>();
    const Tensor& sequences = sequences_of_block(i, placed);
    return {sentence("patches have become vectors; ", "all of a ",
                     &sequences == &placed.cu_patches ? "picture" : "window", " attend to each other (",
                     v.num_heads, " heads), then each passes an MLP"),
            count_parameters(block(i)) + (first ? count_parameters(patch_embed()) : 0),
            product_flops(block(i), patches) + attention_flops(sequences, v.embed_dim, false) +
                (first ? product_flops(patch_embed(), patches) / double(v.temporal_patch_size) : 0)};
  }
  if (stage == "vision_merger")
    return {sentence(merge, "x", merge, " patches become one vector as wide as the decoder's"),
            count_parameters(merger()), product_flops(merger(), patches / (merge * merge))};
  return describe_decoder(stage, batch, config_.text, decoder());
}

}  // namespace vlm2vec
