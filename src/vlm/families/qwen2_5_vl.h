// Qwen2.5-VL (Bai et al. 2025): RMSNorm and a SwiGLU MLP in the vision tower. Most blocks attend within windows of
// window_size pixels, those of fullatt_block_indexes to the whole picture. The rest is in qwen_vl.h.
#pragma once
#include "vlm/families/qwen_vl.h"

namespace vlm2vec {

struct Qwen25VisionMlp : Module {
  Qwen25VisionMlp(Module* parent, std::string name, const QwenVisionConfig& config);
  Var operator()(const Var& x) const { return down_proj(swiglu(gate_proj(x), up_proj(x))); }
  Linear gate_proj, up_proj, down_proj;
};

class Qwen25Vl : public QwenVlModel<RmsNorm, Qwen25VisionMlp> {
 public:
  using QwenVlModel::QwenVlModel;
  // Places the windows, too: squares of cells (2×2 patches), cut from the top left, row by row; the last ones are
  // smaller. see() puts rows and angles into the order of windows once, before the first block.
  void place(TokenBatch& batch, const Reading& reading) const override;

 protected:
  const Tensor& sequences_of_block(size_t i, const QwenPlacement& placed) const override;
};

std::unique_ptr<Backbone> make_qwen2_5_vl(const nlohmann::json& config);
nlohmann::json tiny_qwen2_5_vl(int hidden);

}  // namespace vlm2vec
