// LLaVA-NeXT (LLaVA-1.6, Liu et al. 2024) as transformers has it. CLIP's vision tower encodes the whole picture and its
// tiles. An MLP projects their patches, and a Mistral or Llama decoder reads them among the words. A row's embedding is
// its last token's state after the final norm, L2-normalised (VLM2Vec). E5-V (Jiang et al. 2024) is such a model with
// prompts of its own. Field paths are the checkpoint's names.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "vlm/decoder.h"
#include "vlm/families/clip_tower.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct LlavaNextConfig {
  DecoderConfig text;
  ClipTowerConfig vision;
  size_t vision_layers = 0;  // of the tower's, those that run
  std::vector<Size> canvases;
  int image_token_id = -1;
  double initializer_range = 0.02;  // of the decoder
  bool tied = false, projector_bias = true;
};

struct LlavaProjector : Module {
  LlavaProjector(Module* parent, std::string name, const LlavaNextConfig& config);
  Var operator()(const Var& x) const { return linear_2(activate(linear_1(x), Activation::gelu)); }
  Linear linear_1, linear_2;
};

struct LlavaPlacement : Placement {
  ClipImages images;
  Tensor patches;          // the tower's rows without class rows
  Tensor order;            // the rows of all pictures' tokens among [projected patches, newline]
  RopeTable tokens, last;  // rotary angles of all tokens, and of each row's last token
  std::vector<Tensor*> of_see() override {
    std::vector<Tensor*> all = images.tensors();
    all.push_back(&patches);
    return all;
  }
  std::vector<Tensor*> of_read() override { return {&order, &tokens.cos, &tokens.sin, &last.cos, &last.sin}; }
};

class LlavaNext : public ClipSighted {
  const LlavaNextConfig config_;  // the modules are made from it

 public:
  explicit LlavaNext(LlavaNextConfig config) : config_(std::move(config)) {}
  const LlavaNextConfig& config() const { return config_; }
  InputShape input() const override;
  int64_t dim() const override { return config_.text.hidden_size; }
  double initial_std(const Parameter& parameter) const override;
  bool tied() const override { return config_.tied; }
  Module& image_encoder() override { return vision_tower; }
  const TensorNames& names() const override;
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return language_model.embed_tokens(batch.ids); }
  Var see(const TokenBatch& batch, const Var& patches) override;  // a row for each patch, before the projector
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Parameter image_newline{this, "image_newline", {config_.text.hidden_size}};
  ClipVisionTower vision_tower{this, "vision_tower.vision_model", config_.vision};
  LlavaProjector multi_modal_projector{this, "multi_modal_projector", config_};
  Decoder language_model{this, "language_model.model", config_.text};

 protected:
  ClipVisionTower& tower() override { return vision_tower; }
  const ClipTowerConfig& tower_config() const override { return config_.vision; }
  void trace_inputs(const TokenBatch& batch) const override;

 private:
  void place_pictures(TokenBatch& batch, LlavaPlacement& placed) const;
};

std::unique_ptr<Backbone> make_llava_next(const nlohmann::json& config);
void complete_llava_next(nlohmann::json& config, const std::filesystem::path& config_file);
nlohmann::json tiny_llava_next(int hidden);
// Writes the rotary base and the weights' type under both names that versions of transformers have for them.
std::string portable_llava_next(const std::string& config);
// VLM2Vec's styles, and e5-v: "above image" or "above sentence in one word"; for both, that of E5-V's composed
// retrieval (CIRR): "Modify this image with …".
std::span<const PromptStyle> llava_next_prompts();

}  // namespace vlm2vec
