// CLIP (Radford et al. 2021) as transformers' CLIPModel has it. Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/families/dual_encoder.h"

namespace vlm2vec {

class Clip : public DualEncoder {
 public:
  explicit Clip(const DualConfig& config) : DualEncoder(config) {}
  double initial_std(const Parameter& parameter) const override;
  const TensorNames& names() const override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Parameter logit_scale{this, "logit_scale", {}};  // kept for transformers; the loss here has its own temperature
  Linear visual_projection{this, "visual_projection", config_.vision.width, config_.projection_dim, false};
  Linear text_projection{this, "text_projection", config_.text.width, config_.projection_dim, false};

 protected:
  // The end token: the first eos_token_id or, in old configurations that say 2, the largest id.
  size_t pooled_token(std::span<const int32_t> ids) const override;
  Var pooled_pictures(const ClipImages& images, const Var& rows) override;  // their class rows
  StageNote describe_pooled(const ClipImages& images) override;
  Linear& text_head() override { return text_projection; }
  Linear* picture_head() override { return &visual_projection; }
};

std::unique_ptr<Backbone> make_clip(const nlohmann::json& config);
nlohmann::json tiny_clip(int hidden);

}  // namespace vlm2vec
