// Phi-3.5-V (Abdin et al. 2024, phi3_v): CLIP sees each tile of a picture; 2x2 patches become one vector, learned
// separators end the lines, and all pass an MLP into the places of the picture's tokens. The decoder has fused
// projections and a rotary embedding whose factors depend on the row's length. Field paths are the checkpoint's names.
#pragma once
#include "vlm/decoder.h"
#include "vlm/families/clip_tower.h"

namespace vlm2vec {

struct Phi3VConfig {
  DecoderConfig text;
  ClipTowerConfig vision;
  int64_t tower_layers = 0;                      // of the tower that are run: layer_idx -2 leaves out the last
  std::vector<float> short_factor, long_factor;  // of the rotary wavelengths, [head_dim / 2]
  int64_t short_length = 0;                      // tokens of the longest row with short factors
  double rotary_scale = 1, initializer_range = 0.02;
};

struct Phi3Attention : Module {
  Phi3Attention(Module* parent, std::string name, const DecoderConfig& config);
  Linear o_proj, qkv_proj;  // q, k and v one below the other
};

struct Phi3Mlp : Module {
  Phi3Mlp(Module* parent, std::string name, const DecoderConfig& config);
  Var operator()(const Var& x) const { return down_proj(swiglu(gate_up_proj(x))); }
  Linear gate_up_proj, down_proj;  // gate above up
};

struct Phi3Layer : Module {
  Phi3Layer(Module* parent, std::string name, const DecoderConfig& config);
  // only_last: for the last row of each sequence only; the bits are the same.
  Var operator()(const Var& x, const TokenRows& rows, DropoutState& dropout, bool only_last) const;

  Phi3Attention self_attn;
  Phi3Mlp mlp;
  RmsNorm input_layernorm, post_attention_layernorm;

 private:
  AttentionShape shape_;
};

struct Phi3ImageEmbedding : Module {
  Phi3ImageEmbedding(Module* parent, std::string name, const Phi3VConfig& config);
  Var project(const Var& x) const { return img_projection_2(activate(img_projection_0(x), Activation::gelu)); }
  Parameter glb_GN, sub_GN;  // between tiles and the whole; at the end of each line
  ClipVisionTower vision_model;
  Linear img_projection_0, img_projection_2;
};

struct Phi3Decoder : Module {
  Phi3Decoder(Module* parent, std::string name, const Phi3VConfig& config);
  Embedding embed_tokens;
  Phi3ImageEmbedding vision_embed_tokens;
  ModuleList<Phi3Layer> layers;
  RmsNorm norm;
};

struct Phi3VPlacement : Placement {
  ClipImages images;
  Tensor cells, map;  // the tower's rows of each 2x2 patches; the pictures' vectors from [sub_GN, glb_GN, all cells]
  RopeTable tokens;   // rotary angles
  std::vector<Tensor*> of_see() override {
    std::vector<Tensor*> all = images.tensors();
    all.insert(all.end(), {&cells, &map});
    return all;
  }
  std::vector<Tensor*> of_read() override { return {&tokens.cos, &tokens.sin}; }
};

class Phi3V : public ClipSighted {
  const Phi3VConfig config_;  // the modules are made from it

 public:
  explicit Phi3V(Phi3VConfig config) : config_(std::move(config)) {}
  InputShape input() const override;
  int64_t dim() const override { return config_.text.hidden_size; }
  double initial_std(const Parameter& parameter) const override;
  bool tied() const override { return true; }  // names(): the embedding has two names
  Module& image_encoder() override { return model.vision_embed_tokens; }
  const TensorNames& names() const override;
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return model.embed_tokens(batch.ids); }
  Var see(const TokenBatch& batch, const Var& patches) override;  // a vector for each token of the pictures
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Phi3Decoder model{this, "model", config_};

 protected:
  ClipVisionTower& tower() override { return model.vision_embed_tokens.vision_model; }
  const ClipTowerConfig& tower_config() const override { return config_.vision; }
  void trace_inputs(const TokenBatch& batch) const override;

 private:
  RopeTable angles(const std::vector<int32_t>& cu) const;
  void place_pictures(TokenBatch& batch, Phi3VPlacement& placed) const;
};

std::unique_ptr<Backbone> make_phi3_v(const nlohmann::json& config);
// Official files say nothing of the tower but its width: other sizes are taken from the weights, if there are any.
void complete_phi3_v(nlohmann::json& config, const std::filesystem::path& config_file);
nlohmann::json tiny_phi3_v(int hidden);

}  // namespace vlm2vec
