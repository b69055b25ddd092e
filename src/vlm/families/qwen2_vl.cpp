// The forward passes; what they compute and why stands in qwen2_vl.h, module by module.
#include "vlm/families/qwen2_vl.h"

#include <cmath>

#include "nn/adapters.h"

namespace vlm2vec {
namespace {

// LayerNorm of the vision tower; config.json does not carry it.
constexpr double kVisionNormEps = 1e-6;

Var run(bool checkpointed, const std::function<Var(const Var&)>& layer, const Var& x) {
  return checkpointed ? checkpoint(layer, x) : layer(x);
}

}  // namespace

PatchEmbed::PatchEmbed(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      weight(this, "proj.weight", {c.embed_dim, 3, c.temporal_patch_size, c.patch_size, c.patch_size}),
      frames_(c.temporal_patch_size) {}

Var PatchEmbed::operator()(const Var& patches) const {
  const Shape& s = weight.shape();
  const int64_t slices = s[0] * s[1];
  const Var by_frame = view(weight, {slices * frames_, s[3] * s[4]});
  Var sum;
  for (int64_t frame = 0; frame < frames_; ++frame) {
    std::vector<int32_t> rows(static_cast<size_t>(slices));
    for (int64_t i = 0; i < slices; ++i) rows[size_t(i)] = int32_t(i * frames_ + frame);
    const Var slice = gather_rows(by_frame, from_vector(rows, {slices}, weight.value().device()));
    sum = frame == 0 ? slice : sum + slice;
  }
  return linear(patches, view(sum, {s[0], s[1] * s[3] * s[4]}), {}, bf16_products());
}

VisionAttention::VisionAttention(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      qkv{this, "qkv", c.embed_dim, 3 * c.embed_dim, true},
      proj{this, "proj", c.embed_dim, c.embed_dim, true},
      shape_{c.num_heads, c.num_heads,      c.head_dim(),        false, 1 / std::sqrt(double(c.head_dim())),
             0,           int(c.embed_dim), int(2 * c.embed_dim)} {}

Var VisionAttention::operator()(const Var& x, const PatchRows& rows) const {
  return proj(attention(rope(qkv(x), rows.rope, 2 * shape_.heads), rows.cu_seqlens, shape_));
}

VisionMlp::VisionMlp(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      fc1{this, "fc1", c.embed_dim, c.mlp_hidden, true},
      fc2{this, "fc2", c.mlp_hidden, c.embed_dim, true} {}

VisionBlock::VisionBlock(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      norm1{this, "norm1", c.embed_dim, kVisionNormEps},
      norm2{this, "norm2", c.embed_dim, kVisionNormEps},
      attn{this, "attn", c},
      mlp{this, "mlp", c} {}

Var VisionBlock::operator()(const Var& x, const PatchRows& rows) const {
  const Var h = x + attn(norm1(x), rows);
  return h + mlp(norm2(h));
}

PatchMerger::PatchMerger(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      ln_q{this, "ln_q", c.embed_dim, kVisionNormEps},
      mlp_0{this, "mlp.0", c.embed_dim * c.spatial_merge_size * c.spatial_merge_size,
            c.embed_dim * c.spatial_merge_size * c.spatial_merge_size, true},
      mlp_2{this, "mlp.2", c.embed_dim * c.spatial_merge_size * c.spatial_merge_size, c.hidden_size, true},
      merged_(c.embed_dim * c.spatial_merge_size * c.spatial_merge_size) {}

Var PatchMerger::operator()(const Var& x) const {
  return mlp_2(activate(mlp_0(view(ln_q(x), {-1, merged_})), Activation::gelu));
}

VisionTower::VisionTower(Module* parent, std::string name, const VisionConfig& c)
    : Module(parent, std::move(name)),
      patch_embed{this, "patch_embed", c},
      blocks{this, "blocks", c.depth, c},
      merger{this, "merger", c} {}

Var VisionTower::operator()(const Var& patches, const PatchRows& rows, DropoutState& dropout, const Trace& trace) {
  Var x = patch_embed(patches);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto block = [this, i, rows, &dropout](const Var& h) {  // may run again in the backward pass
      dropout.row_keys = rows.keys;
      return blocks[i](h, rows);
    };
    x = run(gradient_checkpointing, block, x);
    if (trace) trace("vision_block_" + std::to_string(i), x.value());
  }
  dropout.row_keys = rows.merged_keys;
  x = merger(x);
  if (trace) trace("vision_merger", x.value());
  return x;
}

Var Qwen2Vl::operator()(const Batch& any_batch) {
  const auto& batch = static_cast<const Qwen2VlBatch&>(any_batch);
  if (trace) trace_inputs(batch);
  return forward(batch, model.embed_tokens(batch.ids), batch.vision.patches);
}

bool Qwen2Vl::run_frozen(Batch& any_batch) {
  auto& batch = static_cast<Qwen2VlBatch&>(any_batch);
  if (batch.vision.patches && is_frozen(visual)) {
    const NoGrad no_grad;
    batch.merged = visual(batch.vision.patches, batch.vision, dropout, trace).value();
    batch.vision = {};
  }
  return !batch.vision.patches;
}

Var Qwen2Vl::forward(const Qwen2VlBatch& batch, const Var& words, const Var& patches) {
  Var x = words;
  if (batch.merged) x = replace_rows(x, batch.image_rows, batch.merged);
  else if (patches.value()) x = replace_rows(x, batch.image_rows, visual(patches, batch.vision, dropout, trace));
  if (trace) trace("hidden_embed", x.value());
  // Of the last layer only each sequence's last row is needed, unless somebody looks.
  const size_t last = model.layers.size() - 1;
  for (size_t i = 0; i <= last; ++i) {
    const auto layer = [this, rows = batch.tokens, keys = batch.token_keys, last_keys = batch.last_keys, i,
                        prune = !trace && i == last](const Var& h) {  // may run again in the backward pass
      dropout.row_keys = keys;
      if (!prune) return model.layers[i](h, rows);
      return model.layers[i].last_rows(h, rows, [&] { dropout.row_keys = last_keys; });
    };
    x = run(gradient_checkpointing_, layer, x);
    if (trace) trace("hidden_layer_" + std::to_string(i), x.value());
  }
  if (trace) trace("hidden_final", model.norm(x).value());
  if (trace) x = gather_rows(x, batch.tokens.last_rows);
  x = l2_normalize(model.norm(x));
  if (trace) trace("embedding", x.value());
  return x;
}

void Qwen2Vl::trace_inputs(const Qwen2VlBatch& batch) const {
  trace("input_ids", batch.ids);
  trace("position_ids", batch.position_ids);
  if (!batch.vision.patches) return;
  trace("image_grid_thw", batch.grids);
  // The reference's layout: each channel's frames one after another, a still picture's being equal.
  const int64_t frames = config_.vision.temporal_patch_size, channels = 3;
  std::vector<int32_t> rows;
  for (int64_t i = 0; i < batch.vision.patches.rows() * channels; ++i)
    rows.insert(rows.end(), size_t(frames), int32_t(i));
  const Tensor by_channel = batch.vision.patches.view({-1, batch.vision.patches.columns() / channels});
  trace("pixel_values", gather_rows(by_channel, from_vector(rows, {int64_t(rows.size())}, by_channel.device()))
                            .view({batch.vision.patches.rows(), -1}));
}

void Qwen2Vl::set_gradient_checkpointing(bool on) { gradient_checkpointing_ = visual.gradient_checkpointing = on; }

}  // namespace vlm2vec
