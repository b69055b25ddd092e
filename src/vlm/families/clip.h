// CLIP (Radford et al. 2021) as transformers' CLIPModel has it: a text tower and a vision tower that meet only at the
// end. A row's embedding is the L2-normalised sum of its projected text and its projected picture, or of the one that
// it has (VLM2Vec's evaluation of CLIP). Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "nn/layers.h"
#include "vlm/backbone.h"

namespace vlm2vec {

struct ClipTowerConfig {
  int layers = 0, heads = 0;
  int64_t width = 0, mlp_hidden = 0, positions = 0;  // positions: most tokens of a text, or patches of a picture + 1
  double eps = 1e-5, initializer_factor = 1, initializer_range = 0.02;
  Activation activation = Activation::quick_gelu;
  bool causal = false;
};

struct ClipConfig {
  ClipTowerConfig text, vision;
  int64_t vocab_size = 0, projection_dim = 0, eos_token_id = 0;
  int image_size = 0, patch_size = 0;
};

// Packed rows: sequence s of cu_queries attends to sequence s of cu_keys among the rows `keys`; without `keys`, among
// all rows.
struct ClipRows {
  Tensor cu_queries, cu_keys, keys, dropout_ids;
};

struct ClipAttention : Module {
  ClipAttention(Module* parent, std::string name, const ClipTowerConfig& config);
  Var operator()(const Var& x, const ClipRows& rows) const;
  Linear k_proj, v_proj, q_proj, out_proj;

 private:
  AttentionShape shape_;
};

struct ClipMlp : Module {
  ClipMlp(Module* parent, std::string name, const ClipTowerConfig& config);
  Var operator()(const Var& x) const { return fc2(activate(fc1(x), activation_)); }
  Linear fc1, fc2;

 private:
  Activation activation_;
};

// x + attn(norm1(x)), then h + mlp(norm2(h)).
struct ClipLayer : Module {
  ClipLayer(Module* parent, std::string name, const ClipTowerConfig& config);
  Var operator()(const Var& x, const ClipRows& rows) const;
  ClipAttention self_attn;
  LayerNorm layer_norm1;
  ClipMlp mlp;
  LayerNorm layer_norm2;
};

struct ClipTextTower : Module {
  ClipTextTower(Module* parent, std::string name, const ClipConfig& config);
  Embedding token_embedding, position_embedding;
  ModuleList<ClipLayer> layers;
  LayerNorm final_layer_norm;
};

struct ClipVisionTower : Module {
  ClipVisionTower(Module* parent, std::string name, const ClipConfig& config);
  Parameter class_embedding, patch_embedding;
  Embedding position_embedding;
  LayerNorm pre_layrnorm;  // spelled as in the files
  ModuleList<ClipLayer> layers;
  LayerNorm post_layernorm;
};

struct ClipPlacement : Placement {
  // The vision tower has a class row before each picture's patches: where each picture's rows begin, and the end; the
  // order that takes them from [class row, all patches]; and each row's position in its picture.
  Tensor cu_images, image_order, row_positions;
  Tensor positions;          // i32 [tokens]
  Tensor text_rows, pooled;  // the rows with a text, and the token that stands for each text
  Tensor picture_rows;       // the rows with a picture
  // With the official mask: the tokens that are keys, their sequences, and the sequences of the queries.
  Tensor keys, cu_keys, cu_queries;
  std::vector<Tensor*> of_see() override { return {&cu_images, &image_order, &row_positions}; }
  std::vector<Tensor*> of_read() override {
    return {&positions, &text_rows, &pooled, &picture_rows, &keys, &cu_keys, &cu_queries};
  }
};

class Clip : public Backbone {
  const ClipConfig config_;  // the modules are made from it

 public:
  explicit Clip(const ClipConfig& config) : config_(config) {}
  InputShape input() const override;
  int64_t dim() const override { return config_.projection_dim; }
  double initial_std(const Parameter& parameter) const override;
  Module& image_encoder() override { return vision_model; }
  const TensorNames& names() const override;
  // A text's vector is its end token's: the first eos_token_id or, in old configurations that say 2, the largest id.
  // With the official mask no token attends to the end token.
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return text_model.token_embedding(batch.ids); }
  Var see(const TokenBatch& batch, const Var& patches) override;  // [pictures, width]: class rows, before projection
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Parameter logit_scale{this, "logit_scale", {}};  // kept for transformers; the loss here has its own temperature
  ClipTextTower text_model{this, "text_model", config_};
  ClipVisionTower vision_model{this, "vision_model", config_};
  Linear visual_projection{this, "visual_projection", config_.vision.width, config_.projection_dim, false};
  Linear text_projection{this, "text_projection", config_.text.width, config_.projection_dim, false};

 protected:
  void trace_inputs(const TokenBatch& batch) const override;

 private:
  size_t end_of_text(std::span<const int32_t> ids) const;
  void place_pictures(TokenBatch& batch, ClipPlacement& placed) const;
  Var run_layers(ModuleList<ClipLayer>& layers, Var x, const ClipRows& rows, const std::string& stage);
};

std::unique_ptr<Backbone> make_clip(const nlohmann::json& config);
nlohmann::json tiny_clip(int hidden);

}  // namespace vlm2vec
