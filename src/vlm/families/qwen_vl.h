// The parts that Qwen2-VL (Wang et al. 2024), Qwen2.5-VL and Qwen3-VL share. A vision transformer with 2-D rotary
// positions merges patches 2×2; a Qwen decoder has multimodal rotary positions. A row's embedding is its last token's
// state after the final norm, L2-normalised (VLM2Vec). Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/backbone.h"
#include "vlm/decoder.h"

namespace vlm2vec {

struct QwenVisionConfig {
  int depth = 0, num_heads = 0, patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2;
  int64_t embed_dim = 0, mlp_hidden = 0, hidden_size = 0;  // hidden_size: of the merger's output
  int window_size = 0;                                     // side of a window in pixels; 0: no windows
  std::vector<int> full_blocks;                            // blocks that attend to the whole picture, not to windows
  int position_side = 0;                // learned positions lie in a square of this side; 0: there are none
  std::vector<int> deepstack;           // blocks whose output is merged for the first decoder layers, one for each
  Activation activation = Activation::gelu_tanh;  // of an MLP that has a choice
  int head_dim() const { return int(embed_dim / num_heads); }
};

struct QwenVlConfig {
  DecoderConfig text;
  QwenVisionConfig vision;
  std::vector<int> mrope_section;
  bool mrope_interleaved = false;
  int image_token_id = -1, vision_start_token_id = -1;
  double initializer_range = 0.02;
  bool tied = false;  // the head is the embedding
};
// Reads the flat and the nested (text_config) spelling; read_tower fills the fields of `vision` that differ by family
// (embed_dim, mlp_hidden, hidden_size, activation). The defaults are values of absent fields, objects as text.
// Throws Exit::data, without the file's name.
extern const char* const kQwenTextDefaults;  // of Qwen2-VL and Qwen2.5-VL
QwenVlConfig read_qwen_vl(const nlohmann::json& config, const char* vision_defaults,
                          void (*read_tower)(const nlohmann::json& vision, QwenVisionConfig& tower),
                          const char* text_defaults = kQwenTextDefaults);
nlohmann::json tiny_qwen_vl(int hidden, const char* model_type);  // the caller completes vision_config

inline constexpr double kQwenVisionEps = 1e-6;  // of the vision tower's norms; config.json does not carry it

struct QwenPatchEmbed : Module {
  QwenPatchEmbed(Module* parent, std::string name, const QwenVisionConfig& config, bool with_bias = false);
  // A convolution with stride = kernel is a product with flattened patches. Both frames of a still picture are equal,
  // so the weight's two temporal slices are added first, at half the cost.
  Var operator()(const Var& patches) const;
  Parameter weight;  // "proj.weight" [embed_dim, 3, 2, p, p]
  std::unique_ptr<Parameter> bias;

 private:
  int64_t frames_;
  mutable std::vector<Tensor> rows_;  // by frame: its slices of the weight; made by the first call
};

struct QwenVisionAttention : Module {
  QwenVisionAttention(Module* parent, std::string name, const QwenVisionConfig& config);
  // cu_seqlens: where the pictures, or the windows, begin.
  Var operator()(const Var& x, const Tensor& cu_seqlens, const RopeTable& angles) const;
  Linear qkv, proj;

 private:
  AttentionShape shape_;
};

// x + attn(norm1(x)), then h + mlp(norm2(h)).
template <class Norm, class Mlp>
struct QwenVisionBlock : Module {
  QwenVisionBlock(Module* parent, std::string name, const QwenVisionConfig& c)
      : Module(parent, std::move(name)),
        norm1{this, "norm1", c.embed_dim, kQwenVisionEps},
        norm2{this, "norm2", c.embed_dim, kQwenVisionEps},
        attn{this, "attn", c},
        mlp{this, "mlp", c} {}
  Var operator()(const Var& x, const Tensor& cu_seqlens, const RopeTable& angles) const {
    const auto [h, normed] = norm2.of_sum(x, attn(norm1(x), cu_seqlens, angles));
    return h + mlp(normed);
  }
  Norm norm1, norm2;
  QwenVisionAttention attn;
  Mlp mlp;
};

template <class Norm>
struct QwenPatchMerger : Module {
  QwenPatchMerger(Module* parent, std::string name, const QwenVisionConfig& c)
      : Module(parent, std::move(name)),
        merged(c.embed_dim * c.spatial_merge_size * c.spatial_merge_size),
        ln_q{this, "ln_q", c.embed_dim, kQwenVisionEps},
        mlp_0{this, "mlp.0", merged, merged, true},
        mlp_2{this, "mlp.2", merged, c.hidden_size, true} {}
  Var operator()(const Var& x) const {  // [patches, embed_dim] → [patches / 4, hidden_size]
    return mlp_2(activate(mlp_0(view(ln_q(x), {-1, merged})), Activation::gelu));
  }
  const int64_t merged;
  Norm ln_q;
  Linear mlp_0, mlp_2;
};

template <class Norm, class Mlp>
struct QwenVisionTower : Module {
  QwenVisionTower(Module* parent, std::string name, const QwenVisionConfig& c)
      : Module(parent, std::move(name)),
        patch_embed{this, "patch_embed", c},
        blocks{this, "blocks", c.depth, c},
        merger{this, "merger", c} {}
  QwenPatchEmbed patch_embed;
  ModuleList<QwenVisionBlock<Norm, Mlp>> blocks;
  QwenPatchMerger<Norm> merger;
};

const TensorNames& qwen_names();

struct QwenPlacement : Placement {
  Tensor position_ids;     // i32 [3, tokens]: time, row, column
  RopeTable tokens, last;  // rotary angles of all tokens, and of each row's last token
  Tensor cu_patches;       // i32: where each picture's patches begin, and the end
  RopeTable patches;       // rotary angles of the patches
  // For attention within windows: where each window begins; the order that puts windows one after another, for patches
  // and their angles; and the way back for merged patches.
  Tensor cu_windows, window_order, raster_order;
  Tensor positions, shares;  // [patches, 4]: the learned positions around a patch (i32), and the share of each
  // With deepstack: i32, the rows of see() that replace the tokens of pictures, then those that each of the first
  // decoder layers adds to them.
  std::vector<Tensor> features;

  std::vector<Tensor*> of_see() override {
    return {&cu_patches, &patches.cos, &patches.sin, &cu_windows, &window_order, &raster_order, &positions, &shares};
  }
  std::vector<Tensor*> of_read() override {
    std::vector<Tensor*> all = {&position_ids, &tokens.cos, &tokens.sin, &last.cos, &last.sin};
    for (Tensor& rows : features) all.push_back(&rows);
    return all;
  }
};

class QwenVl : public Backbone {
 public:
  explicit QwenVl(QwenVlConfig config) : config_(std::move(config)) {}
  const QwenVlConfig& config() const { return config_; }
  InputShape input() const override;
  int64_t dim() const override { return config_.text.hidden_size; }
  double initial_std(const Parameter&) const override { return config_.initializer_range; }
  bool tied() const override { return config_.tied; }
  const TensorNames& names() const override { return qwen_names(); }
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return decoder().embed_tokens(batch.ids); }
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

 protected:
  void trace_inputs(const TokenBatch& batch) const override;
  virtual Decoder& decoder() = 0;
  // The tower's parts, for describe(), and the first rows of the sequences within which a block attends.
  virtual Module& patch_embed() = 0;
  virtual Module& block(size_t i) = 0;
  virtual Module& merger() = 0;
  virtual const Tensor& sequences_of_block(size_t, const QwenPlacement& placed) const { return placed.cu_patches; }
  // Runs block i of the tower on the packed patches x.
  template <class Block>
  Var run_block(ModuleList<Block>& blocks, size_t i, const Var& x, const TokenBatch& batch) {
    const auto& placed = batch.placed_as<QwenPlacement>();
    const auto block = [this, &blocks, i, cu = sequences_of_block(i, placed), angles = placed.patches,
                        ids = batch.patch_dropout_ids](const Var& h) {  // may run again in the backward pass
      const RowScope rows(dropout, ids);
      return blocks[i](h, cu, angles);
    };
    const Var y = run(block, x);
    if (trace) trace("vision_block_" + std::to_string(i), y.value());
    return y;
  }
  const QwenVlConfig config_;
};

// A family with this norm and MLP in the blocks of its tower.
template <class Norm, class Mlp>
class QwenVlModel : public QwenVl {
 public:
  using QwenVl::QwenVl;
  Module& image_encoder() override { return visual; }
  Var see(const TokenBatch& batch, const Var& patches) override {
    const auto& placed = batch.placed_as<QwenPlacement>();
    Var x = visual.patch_embed(patches);
    if (placed.window_order) x = gather_rows(x, placed.window_order);
    for (size_t i = 0; i < visual.blocks.size(); ++i) x = run_block(visual.blocks, i, x, batch);
    const RowScope rows(dropout, batch.seen_dropout_ids);
    x = visual.merger(x);
    if (placed.raster_order) x = gather_rows(x, placed.raster_order);
    if (trace) trace("vision_merger", x.value());
    return x;
  }

  QwenVisionTower<Norm, Mlp> visual{this, "visual", config_.vision};
  Decoder model{this, "model", config_.text};

 protected:
  Decoder& decoder() override { return model; }
  Module& patch_embed() override { return visual.patch_embed; }
  Module& block(size_t i) override { return visual.blocks[i]; }
  Module& merger() override { return visual.merger; }
};

}  // namespace vlm2vec
