// Qwen3-VL and Qwen3-VL-Embedding (2025): learned positions of patches, interpolated; deepstack, the output of some
// vision blocks added to the first decoder layers; interleaved M-RoPE; QK-norm. The rest is in qwen_vl.h.
#pragma once
#include "vlm/families/qwen_vl.h"

namespace vlm2vec {

struct Qwen3VisionMlp : Module {
  Qwen3VisionMlp(Module* parent, std::string name, const QwenVisionConfig& config);
  Var operator()(const Var& x) const { return linear_fc2(activate(linear_fc1(x), activation)); }
  const Activation activation;
  Linear linear_fc1, linear_fc2;
};

// [patches, embed_dim] → [patches / 4, hidden_size]. The norm is over one patch, or over the patches of a cell.
struct Qwen3PatchMerger : Module {
  Qwen3PatchMerger(Module* parent, std::string name, const QwenVisionConfig& config, bool norm_of_cell);
  Var operator()(const Var& x) const;
  const int64_t merged;
  LayerNorm norm;
  Linear linear_fc1, linear_fc2;
};

struct Qwen3VisionTower : Module {
  Qwen3VisionTower(Module* parent, std::string name, const QwenVisionConfig& config);
  QwenPatchEmbed patch_embed;
  Embedding pos_embed;  // of a square of positions, row by row
  ModuleList<QwenVisionBlock<LayerNorm, Qwen3VisionMlp>> blocks;
  Qwen3PatchMerger merger;
  ModuleList<Qwen3PatchMerger> deepstack_merger_list;
};

class Qwen3Vl : public QwenVl {
 public:
  using QwenVl::QwenVl;
  const TensorNames& names() const override;
  Module& image_encoder() override { return visual; }
  // Places the interpolation of positions and the rows of features, too.
  void place(TokenBatch& batch, const Reading& reading) const override;
  // Returns the merged rows of the last block, then those of each deepstack block.
  Var see(const TokenBatch& batch, const Var& patches) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Decoder language_model{this, "model.language_model", config_.text};
  Qwen3VisionTower visual{this, "model.visual", config_.vision};

 protected:
  Decoder& decoder() override { return language_model; }
  Module& patch_embed() override { return visual.patch_embed; }
  Module& block(size_t i) override { return visual.blocks[i]; }
  Module& merger() override { return visual.merger; }
};

std::unique_ptr<Backbone> make_qwen3_vl(const nlohmann::json& config);
std::string portable_qwen3_vl(const std::string& config);  // the spelling that transformers 4.57 and 5 read
nlohmann::json tiny_qwen3_vl(int hidden);

}  // namespace vlm2vec
