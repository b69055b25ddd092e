// SigLIP (Zhai et al. 2023) as transformers' SiglipModel has it: CLIP's layers, texts that see their padding and stand
// in their last token, pictures whose patches are pooled by an attention. Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/families/dual_encoder.h"

namespace vlm2vec {

// A learned query attends to the patches of a picture; an MLP follows.
struct SiglipPooling : Module {
  SiglipPooling(Module* parent, std::string name, const ClipTowerConfig& config);
  Var operator()(const Var& patches, const ClipImages& images) const;  // [pictures, width]
  Parameter probe;
  struct Attention : Module {
    Attention(Module* parent, std::string name, const ClipTowerConfig& config);
    Var project(const Var& x) const;  // query, key and value, side by side
    Parameter in_proj_weight, in_proj_bias;
    Linear out_proj;
  } attention;
  LayerNorm layernorm;
  ClipMlp mlp;

 private:
  AttentionShape shape_;
};

class Siglip : public DualEncoder {
 public:
  explicit Siglip(const DualConfig& config) : DualEncoder(config) {}
  InputShape input() const override;
  double initial_std(const Parameter& parameter) const override;
  const TensorNames& names() const override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Parameter logit_scale{this, "logit_scale", {1}}, logit_bias{this, "logit_bias", {1}};  // of its own loss; kept
  Linear head{&text_model, "head", config_.text.width, config_.projection_dim, true};
  SiglipPooling pooling{&vision_model, "head", config_.vision};

 protected:
  size_t pooled_token(std::span<const int32_t> ids) const override { return ids.size() - 1; }
  Var pooled_pictures(const ClipImages& images, const Var& rows) override;
  StageNote describe_pooled(const ClipImages& images) override;
  Linear& text_head() override { return head; }
};

std::unique_ptr<Backbone> make_siglip(const nlohmann::json& config);
nlohmann::json tiny_siglip(int hidden);

}  // namespace vlm2vec
