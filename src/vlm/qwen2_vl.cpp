#include "vlm/qwen2_vl.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

// LayerNorm of the vision tower; config.json does not carry it.
constexpr double kVisionNormEps = 1e-6;

Var run(bool checkpointed, const std::function<Var(const Var&)>& layer, const Var& x) {
  return checkpointed ? checkpoint(layer, x) : layer(x);
}

}  // namespace

Qwen2VlConfig Qwen2VlConfig::load(const std::filesystem::path& file) {
  const nlohmann::json root = read_json(file);
  Qwen2VlConfig c;
  try {
    const std::string type = root.value("model_type", "");
    if (type != "qwen2_vl")
      fail(Exit::data, file.string(), ": model_type is \"", type, "\"; this program knows qwen2_vl");
    const nlohmann::json& text = root.contains("text_config") ? root.at("text_config") : root;
    const nlohmann::json& vision = root.at("vision_config");
    const auto either = [&](const char* key) { return root.contains(key) ? root.at(key) : text.at(key); };
    DecoderConfig& d = c.text;
    d.vocab_size = text.at("vocab_size"), d.hidden_size = text.at("hidden_size"),
    d.intermediate_size = text.at("intermediate_size");
    d.num_hidden_layers = text.at("num_hidden_layers"), d.num_attention_heads = text.at("num_attention_heads");
    d.num_key_value_heads = text.at("num_key_value_heads");
    if (d.num_attention_heads < 1) fail(Exit::data, file.string(), ": num_attention_heads is ", d.num_attention_heads);
    d.head_dim = text.value("head_dim", int(d.hidden_size / d.num_attention_heads));
    d.rms_norm_eps = text.at("rms_norm_eps");
    if (text.value("hidden_act", "silu") != "silu")
      fail(Exit::data, file.string(), ": hidden_act is ", text["hidden_act"].dump(), ", expected silu");
    if (text.value("use_sliding_window", false))
      fail(Exit::data, file.string(), ": use_sliding_window is true, which this program does not know");
    const nlohmann::json& rope = text.contains("rope_scaling") ? text.at("rope_scaling") : text.at("rope_parameters");
    d.rope_theta = text.contains("rope_theta") ? text.at("rope_theta") : rope.at("rope_theta");
    c.mrope_section = rope.at("mrope_section").get<std::vector<int>>();
    const std::string rope_type = rope.value("rope_type", rope.value("type", "mrope"));
    if (rope_type != "mrope" && rope_type != "default")
      fail(Exit::data, file.string(), ": the rotary embedding is of type \"", rope_type,
           "\", expected mrope or default");
    c.image_token_id = either("image_token_id");
    c.vision_start_token_id = root.value("vision_start_token_id", text.value("vision_start_token_id", -1));
    c.initializer_range = text.value("initializer_range", 0.02);
    VisionConfig& v = c.vision;
    v.depth = vision.at("depth"), v.embed_dim = vision.at("embed_dim"), v.num_heads = vision.at("num_heads");
    v.hidden_size = vision.at("hidden_size"), v.patch_size = vision.value("patch_size", 14);
    v.mlp_hidden = int64_t(vision.value("mlp_ratio", 4.0) * double(v.embed_dim));
    v.spatial_merge_size = vision.value("spatial_merge_size", 2),
    v.temporal_patch_size = vision.value("temporal_patch_size", 2);
    if (vision.value("hidden_act", "quick_gelu") != "quick_gelu")
      fail(Exit::data, file.string(), ": vision hidden_act is ", vision["hidden_act"].dump(), ", expected quick_gelu");
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": a field is missing or of the wrong type (", e.what(), ")");
  }
  const DecoderConfig& d = c.text;
  const VisionConfig& v = c.vision;
  const auto expect = [&](bool ok, const std::string& what) {
    if (!ok) fail(Exit::data, file.string(), ": ", what);
  };
  expect(d.hidden_size > 0 && d.num_hidden_layers > 0 && d.vocab_size > 0 && d.intermediate_size > 0 && d.head_dim > 0,
         "sizes must be positive");
  expect(d.num_key_value_heads > 0 && d.num_attention_heads % d.num_key_value_heads == 0,
         "num_attention_heads must be a multiple of num_key_value_heads");
  expect(v.depth > 0 && v.num_heads > 0 && v.embed_dim % (4 * v.num_heads) == 0,
         "the vision head size must be a multiple of 4");
  expect(v.hidden_size == d.hidden_size, "vision_config.hidden_size (what the merger puts out) must equal hidden_size");
  expect(v.temporal_patch_size == 2 && v.spatial_merge_size >= 1 && v.patch_size >= 1,
         "temporal_patch_size must be 2, patch and merge sizes positive");
  int sections = 0;
  for (int s : c.mrope_section) {
    expect(s >= 0, "mrope_section has a negative number");
    sections += s;
  }
  expect(c.mrope_section.size() == 3 && 2 * sections == d.head_dim,
         "mrope_section must be three numbers that add up to half the head size");
  expect(c.image_token_id >= 0 && c.image_token_id < d.vocab_size, "image_token_id must lie in the vocabulary");
  return c;
}

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
  return linear(patches, view(sum, {s[0], s[1] * s[3] * s[4]}));
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

Var VisionTower::operator()(const PatchRows& rows, DropoutState& dropout, const Trace& trace) {
  Var x = patch_embed(rows.patches);
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
  const Trace& trace = this->trace;
  Var x = model.embed_tokens(batch.ids);
  if (batch.vision.patches) x = replace_rows(x, batch.image_rows, visual(batch.vision, dropout, trace));
  if (trace) trace("hidden_embed", x.value());
  // Of the last layer only each sequence's last row is needed, unless somebody looks, or dropout is keyed by all rows.
  const size_t last = model.layers.size() - 1;
  const bool prune = !trace && !dropout.active;
  for (size_t i = 0; i <= last; ++i) {
    const auto layer = [this, i, last, prune, rows = batch.tokens, keys = batch.token_keys](const Var& h) {
      dropout.row_keys = keys;
      return prune && i == last ? model.layers[i].last_rows(h, rows) : model.layers[i](h, rows);
    };
    x = run(gradient_checkpointing_, layer, x);
    if (trace) trace("hidden_layer_" + std::to_string(i), x.value());
  }
  if (trace) trace("hidden_final", model.norm(x).value());
  if (!prune) x = gather_rows(x, batch.tokens.last_rows);
  x = l2_normalize(model.norm(x));
  if (trace) trace("embedding", x.value());
  return x;
}

void Qwen2Vl::set_gradient_checkpointing(bool on) { gradient_checkpointing_ = visual.gradient_checkpointing = on; }

}  // namespace vlm2vec
