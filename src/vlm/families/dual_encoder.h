// Dual encoders: a text tower and a vision tower that meet only at the end. As in VLM2Vec's evaluation, a row's
// embedding is the L2-normalised sum of its projected text and picture, or of the one that it has.
#pragma once
#include "vlm/families/clip_tower.h"

namespace vlm2vec {

struct DualConfig {
  ClipTowerConfig text, vision;
  int64_t vocab_size = 0, projection_dim = 0;
  int64_t eos_token_id = 0;  // of CLIP
};

struct ClipTextTower : Module {
  ClipTextTower(Module* parent, std::string name, const DualConfig& config);
  Embedding token_embedding, position_embedding;
  ModuleList<ClipLayer> layers;
  LayerNorm final_layer_norm;
};

struct DualPlacement : Placement {
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

class DualEncoder : public ClipSighted {
 protected:
  const DualConfig config_;  // the modules are made from it

 public:
  explicit DualEncoder(const DualConfig& config) : config_(config) {}
  InputShape input() const override;
  int64_t dim() const override { return config_.projection_dim; }
  Module& image_encoder() override { return vision_model; }
  // With the official mask, which takes the end token for padding of the same id, no token attends to it.
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return text_model.token_embedding(batch.ids); }
  Var see(const TokenBatch& batch, const Var& patches) override;  // [pictures, width], before projection
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  ClipTextTower text_model{this, "text_model", config_};
  ClipVisionTower vision_model{this, "vision_model", config_.vision};

 protected:
  virtual size_t pooled_token(std::span<const int32_t> ids) const = 0;         // which stands for a text
  virtual Var pooled_pictures(const ClipImages& images, const Var& rows) = 0;  // [pictures, width], of normed rows
  virtual StageNote describe_pooled(const ClipImages& images) = 0;
  virtual Linear& text_head() = 0;
  virtual Linear* picture_head() { return nullptr; }  // none: the pooled rows are the vectors
  ClipVisionTower& tower() override { return vision_model; }
  const ClipTowerConfig& tower_config() const override { return config_.vision; }
  void trace_inputs(const TokenBatch& batch) const override;

 private:
  Var read_texts(const TokenBatch& batch, const Var& words);  // the pooled tokens [texts, width]
};

}  // namespace vlm2vec
