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

using Qwen2Vl = QwenVlModel<LayerNorm, Qwen2VisionMlp>;

std::unique_ptr<Backbone> make_qwen2_vl(const nlohmann::json& config);
nlohmann::json tiny_qwen2_vl(int hidden);

}  // namespace vlm2vec
