// CLIP (Radford et al. 2021) as transformers' CLIPModel has it: a text tower and a vision tower that meet only at the
// end. As in VLM2Vec's evaluation, a row's embedding is the L2-normalised sum of its projected text and picture, or of
// the one that it has. Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/families/clip_tower.h"

namespace vlm2vec {

struct ClipConfig {
  ClipTowerConfig text, vision;
  int64_t vocab_size = 0, projection_dim = 0, eos_token_id = 0;
};

struct ClipTextTower : Module {
  ClipTextTower(Module* parent, std::string name, const ClipConfig& config);
  Embedding token_embedding, position_embedding;
  ModuleList<ClipLayer> layers;
  LayerNorm final_layer_norm;
};

struct ClipPlacement : Placement {
  ClipImages images;
  Tensor positions;          // i32 [tokens]
  Tensor text_rows, pooled;  // the rows with a text, and the token that stands for each text
  Tensor picture_rows;       // the rows with a picture
  // With the official mask: the tokens that are keys, their sequences, and the sequences of the queries.
  Tensor keys, cu_keys, cu_queries;
  std::vector<Tensor*> of_see() override { return images.tensors(); }
  std::vector<Tensor*> of_read() override {
    return {&positions, &text_rows, &pooled, &picture_rows, &keys, &cu_keys, &cu_queries};
  }
};

class Clip : public ClipSighted {
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
  ClipVisionTower vision_model{this, "vision_model", config_.vision};
  Linear visual_projection{this, "visual_projection", config_.vision.width, config_.projection_dim, false};
  Linear text_projection{this, "text_projection", config_.text.width, config_.projection_dim, false};

 protected:
  ClipVisionTower& tower() override { return vision_model; }
  const ClipTowerConfig& tower_config() const override { return config_.vision; }
  void trace_inputs(const TokenBatch& batch) const override;

 private:
  size_t end_of_text(std::span<const int32_t> ids) const;
};

std::unique_ptr<Backbone> make_clip(const nlohmann::json& config);
nlohmann::json tiny_clip(int hidden);

}  // namespace vlm2vec
