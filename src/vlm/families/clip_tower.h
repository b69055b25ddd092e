// CLIP's transformer layers and its vision tower (Radford et al. 2021), which several families have inside. Field paths
// are the checkpoint's names.
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
  int image_size = 0, patch_size = 0;  // of a vision tower, in pixels
  // What else a vision tower has: a class row before the patches, a LayerNorm before the layers, a bias of the patches.
  bool class_row = true, pre_norm = true, patch_bias = false;
  bool packed = false;  // q, k and v are one matrix, and the embeddings have a first axis of 1: BLIP-2's files
};

// Reads the fields that text and vision have. Throws Exit::data, without the file's name, but with that of the tower.
ClipTowerConfig read_clip_tower(const nlohmann::json& tower, const std::string& name);
// Reads vision_config. Throws Exit::data, without the file's name.
ClipTowerConfig read_clip_vision(const nlohmann::json& vision);

// Packed rows: sequence s of cu_queries attends to sequence s of cu_keys among the rows `keys`; without `keys`, among
// all rows.
struct ClipRows {
  Tensor cu_queries, cu_keys, keys, dropout_ids;
};

struct ClipAttention : Module {
  ClipAttention(Module* parent, std::string name, const ClipTowerConfig& config);
  Var operator()(const Var& x, const ClipRows& rows) const;
  std::unique_ptr<Linear> k_proj, v_proj, q_proj, qkv;  // three of them, or the last
  Linear out_proj;

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

struct ClipVisionTower : Module {
  ClipVisionTower(Module* parent, std::string name, const ClipTowerConfig& config);
  std::unique_ptr<Parameter> class_embedding;
  Parameter patch_embedding;
  std::unique_ptr<Parameter> patch_bias;
  Parameter position_embedding;
  std::unique_ptr<LayerNorm> pre_layrnorm;  // spelled as in the files
  ModuleList<ClipLayer> layers;
  LayerNorm post_layernorm;
};

// The deviation of a tower's new weight, as in CLIPPreTrainedModel._init_weights of transformers 4.52.3; `embeddings`:
// that of the tables.
double tower_std(const ClipTowerConfig& tower, const std::string& path, double embeddings);

// The tower's rows: a class row, if it has one, before the patches of each picture, or of each tile of one, which lie
// line by line.
struct ClipImages {
  Tensor cu_images, order, positions;  // where each begins, and the end; from [class row,] all patches; in its picture
  std::vector<Tensor*> tensors() { return {&cu_images, &order, &positions}; }
};

// A family whose pictures pass this tower.
class ClipSighted : public Backbone {
 protected:
  virtual ClipVisionTower& tower() = 0;
  virtual const ClipTowerConfig& tower_config() const = 0;
  // Puts a class row before each picture's patches, and its dropout id before theirs: that of the first token seen in
  // it. Returns these ids, one for each picture.
  std::vector<int64_t> place_images(TokenBatch& batch, ClipImages& images) const;
  // Returns the rows after `count` of the tower's layers; stages: vision_embed, vision_block_0, …
  Var run_tower(const ClipImages& images, const Tensor& dropout_ids, const Var& patches, size_t count);
  Var run_layers(ModuleList<ClipLayer>& layers, size_t count, Var x, const ClipRows& rows, const std::string& stage);
  // For trace_inputs(): the reference's layout [pictures or tiles, 3, height, width].
  // Pixels beyond the last whole patch are missing.
  Tensor pixel_values(const TokenBatch& batch) const;
  StageNote describe_tower(const std::string& stage, const ClipImages& images);
};

}  // namespace vlm2vec
