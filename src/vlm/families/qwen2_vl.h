// Qwen2-VL (Wang et al. 2024): LayerNorm and a quick-GELU MLP in the vision tower. Every patch attends to its whole
// picture. qwen_vl.h has the parts shared with Qwen2.5-VL.
#pragma once
#include "vlm/families/qwen_vl.h"

namespace vlm2vec {

struct Qwen2VisionMlp : Module {
  Qwen2VisionMlp(Module* parent, std::string name, const QwenVisionConfig& config);
  Var operator()(const Var& x) const { return fc2(activate(fc1(x), Activation::quick_gelu)); }
  Linear fc1, fc2;
};

class Qwen2Vl : public QwenVl {
 public:
  explicit Qwen2Vl(QwenVlConfig config) : QwenVl(std::move(config)) {}
  Module& image_encoder() override { return visual; }
  Var see(const TokenBatch& batch, const Var& patches) override;

  QwenVisionTower<LayerNorm, Qwen2VisionMlp> visual{this, "visual", config_.vision};
  Decoder model{this, "model", config_.text};

 protected:
  Decoder& decoder() override { return model; }
  Module& patch_embed() override { return visual.patch_embed; }
  Module& block(size_t i) override { return visual.blocks[i]; }
  Module& merger() override { return visual.merger; }
};

std::unique_ptr<Backbone> make_qwen2_vl(const nlohmann::json& config);
nlohmann::json tiny_qwen2_vl(int hidden);

}  // namespace vlm2vec
