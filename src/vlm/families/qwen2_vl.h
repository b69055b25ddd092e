// Qwen2-VL (Wang et al. 2024): a vision transformer with 2-D rotary positions, a merger that makes one token of 2×2
// patches, and a Qwen2 decoder with multimodal rotary positions. The embedding of a row is its last token's state after
// the final norm, L2-normalised (VLM2Vec). Field paths are the checkpoint's names.
#pragma once
#include "vlm/decoder.h"
#include "vlm/encoder.h"
#include "vlm/image/image_cache.h"
#include "vlm/model_folder.h"
#include "vlm/positions.h"
#include "vlm/processor.h"
#include "vlm/tokenizer/tokenizer.h"

namespace vlm2vec {

struct VisionConfig {
  int depth = 0, num_heads = 0, patch_size = 14, spatial_merge_size = 2, temporal_patch_size = 2;
  int64_t embed_dim = 0, mlp_hidden = 0, hidden_size = 0;  // hidden_size: what the merger puts out
  int head_dim() const { return int(embed_dim / num_heads); }
};

struct Qwen2VlConfig {
  DecoderConfig text;
  VisionConfig vision;
  std::vector<int> mrope_section;
  int image_token_id = -1, vision_start_token_id = -1;
  double initializer_range = 0.02;
  bool tied = false;  // the head is the embedding
  static Qwen2VlConfig load(
      const std::filesystem::path& config_json);  // the flat and the nested (text_config) spelling
};

// Patches of all pictures of a batch, in 2×2-block-major order.
struct PatchRows {
  Tensor patches;            // [patches, 3·p·p], one frame: still pictures repeat it
  Tensor cu_seqlens;         // i32 [pictures + 1]
  RopeTable rope;            // [patches, head_dim / 2]
  Tensor keys, merged_keys;  // i64, for dropout
};

struct PatchEmbed : Module {
  PatchEmbed(Module* parent, std::string name, const VisionConfig& config);
  // A convolution with stride = kernel is a product with flattened patches; as both frames of a still picture are
  // equal, its two temporal slices are added first, at half the cost.
  Var operator()(const Var& patches) const;
  Parameter weight;  // "proj.weight" [embed_dim, 3, 2, p, p]
 private:
  int64_t frames_;
};

struct VisionAttention : Module {
  VisionAttention(Module* parent, std::string name, const VisionConfig& config);
  Var operator()(const Var& x, const PatchRows& rows) const;
  Linear qkv, proj;

 private:
  AttentionShape shape_;
};

struct VisionMlp : Module {
  VisionMlp(Module* parent, std::string name, const VisionConfig& config);
  Var operator()(const Var& x) const { return fc2(activate(fc1(x), Activation::quick_gelu)); }
  Linear fc1, fc2;
};

struct VisionBlock : Module {
  VisionBlock(Module* parent, std::string name, const VisionConfig& config);
  Var operator()(const Var& x, const PatchRows& rows) const;
  LayerNorm norm1, norm2;
  VisionAttention attn;
  VisionMlp mlp;
};

struct PatchMerger : Module {
  PatchMerger(Module* parent, std::string name, const VisionConfig& config);
  Var operator()(const Var& x) const;  // [patches, embed_dim] → [patches / 4, hidden_size]
  LayerNorm ln_q;
  Linear mlp_0, mlp_2;

 private:
  int64_t merged_;
};

struct VisionTower : Module {
  VisionTower(Module* parent, std::string name, const VisionConfig& config);
  Var operator()(const Var& patches, const PatchRows& rows, DropoutState& dropout, const Trace& trace);
  bool gradient_checkpointing = false;
  PatchEmbed patch_embed;
  ModuleList<VisionBlock> blocks;
  PatchMerger merger;
};

struct Qwen2VlBatch : Batch {
  Tensor ids;  // i32 [tokens], image tokens expanded
  TokenRows tokens;
  Tensor token_keys;           // i64 [tokens], for dropout
  Tensor last_keys;            // i64 [sequences], of their last tokens
  PatchRows vision;            // patches undefined if no row has a picture, or `merged` is there
  Tensor merged;               // [patches / 4, hidden]: what the vision tower makes of them, if it has run ahead
  Tensor image_rows;           // i32: the token rows that the merged patches replace
  Tensor position_ids, grids;  // i32 [3, tokens], [pictures, 3], for those who look
};

class Qwen2Vl : public Encoder {
 public:
  Qwen2Vl(const ModelFolder& folder, const EncoderOptions& options);
  std::unique_ptr<Batch> prepare(std::span<const EncoderInput> rows) override;
  std::vector<std::string> faults(std::span<const EncoderInput> rows) override;
  Var operator()(const Batch& batch) override;
  bool run_frozen(Batch& batch) override;
  int64_t dim() const override { return config_.text.hidden_size; }
  std::string image_positions() const override {
    return processor_.image_positions.empty() ? "1d" : processor_.image_positions;
  }
  const std::string& image_token() const override { return image_token_; }
  void set_gradient_checkpointing(bool on) override;
  StageNote describe(const std::string& stage, const Batch& batch) override;
  Attribution attribute(const EncoderInput& row, const Tensor& target) override;
  void write_configuration(const std::filesystem::path& folder) const override;
  void write_adapter_files(const std::filesystem::path& folder) const override;
  std::string picture_note() const override { return images_->note(); }

 private:
  std::shared_ptr<const Image> picture(const EncoderInput& row, const PictureSource& source);
  std::vector<int32_t> tokens_of(const EncoderInput& row, std::span<const Grid> grids) const;
  // words: [tokens, hidden], before pictures take their places; patches: as in batch.vision.
  Var forward(const Qwen2VlBatch& batch, const Var& words, const Var& patches);
  void trace_inputs(const Qwen2VlBatch& batch) const;
  bool take_bounds(const std::filesystem::path& file, const EncoderOptions& options);
  void take_positions(const std::filesystem::path& file, const EncoderOptions& options);
  void keep_configuration(const ModelFolder& folder, bool moved);
  Qwen2VlConfig config_;
  ProcessorConfig processor_;
  Tokenizer tokenizer_;
  std::string image_token_;
  Device device_;
  DType dtype_;  // of activations
  int64_t max_len_;
  bool gradient_checkpointing_ = false;
  std::shared_ptr<ImageCache> images_;
  TextFiles configuration_;
  std::set<std::string> adapter_files_;  // of these, what write_adapter_files() writes

 public:
  VisionTower visual{this, "visual", config_.vision};
  Decoder model{this, "model", config_.text};
};

}  // namespace vlm2vec
