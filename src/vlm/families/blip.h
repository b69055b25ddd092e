// BLIP-2's first stage (Li et al. 2023) as transformers' Blip2ForImageTextRetrieval has it, and UniIR's BLIP_FF (Wei et
// al. 2024), which fuses a text with a picture by BLIP's text encoder (Li et al. 2022). Both look at pictures with a
// ViT all of whose rows are read.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "tensor/tensor_files.h"
#include "vlm/families/bert.h"
#include "vlm/families/clip_tower.h"
#include "vlm/image/picture_rule.h"

namespace vlm2vec {

struct BlipConfig {
  ClipTowerConfig vision;
  BertConfig text;
  int64_t vocab_size = 0, positions = 0, most_tokens = 0;
  int64_t queries = 0, projection_dim = 0;  // of BLIP-2
};

struct BlipPlacement : Placement {
  ClipImages images;
  Tensor positions, text_rows, first;  // i32: of the tokens; the rows with a text, and each text's first token
  Tensor picture_rows;                 // the rows with a picture
  // BLIP-2: which query vector each row is, where each picture's begin, their dropout ids, and each picture's first.
  Tensor queries, cu_queries, query_ids, first_queries, one_each;
  Tensor cu_pictures, picture_ids;  // where the rows of each picture, or row, begin, and their dropout ids
  // BLIP_FF: each row's picture rows among [those seen, a blank picture's], and the blank picture's places.
  Tensor keys;
  ClipImages blank;
  Tensor blank_ids;
  std::vector<Tensor*> of_see() override { return images.tensors(); }
  std::vector<Tensor*> of_read() override;
};

class BlipSighted : public ClipSighted {
 protected:
  const BlipConfig config_;  // the modules are made from it

 public:
  explicit BlipSighted(const BlipConfig& config) : config_(config) {}
  InputShape input() const override;
  Module& image_encoder() override { return vision_model; }
  Var see(const TokenBatch& batch, const Var& patches) override;  // all rows, normed
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  ClipVisionTower vision_model{this, "vision_model", config_.vision};

 protected:
  ClipVisionTower& tower() override { return vision_model; }
  const ClipTowerConfig& tower_config() const override { return config_.vision; }
  void trace_inputs(const TokenBatch& batch) const override;
  // Places texts and pictures. Returns the dropout ids of the pictures' first rows.
  std::vector<int64_t> place_both(TokenBatch& batch, BlipPlacement& placed) const;
  double bert_std(const Parameter& parameter) const;
  Var run_bert(BertLayers& layers, Var x, const BertRows& rows, const Var& pictures, const BertRows& picture_rows,
               bool queries, const std::string& stage);
  StageNote describe_layer(const std::string& text, BertLayers& layers, const std::string& stage, const Tensor& cu);
};

// A picture's 32 query vectors and a text's first token, projected. A picture's vector is the mean of its query
// vectors, each of length 1. With official_features it is the first query vector, a text's its first token, both
// before their projections: as in VLM2Vec's evaluation.
class Blip2 : public BlipSighted {
 public:
  explicit Blip2(const BlipConfig& config) : BlipSighted(config) {}
  int64_t dim() const override { return official_features ? config_.text.width : config_.projection_dim; }
  bool has_official_features() const override { return true; }
  double initial_std(const Parameter& parameter) const override { return bert_std(parameter); }
  const TensorNames& names() const override;
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return word_embeddings(batch.ids); }
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Parameter query_tokens{this, "query_tokens", {1, config_.queries, config_.text.width}};
  Embedding word_embeddings{this, "embeddings.word_embeddings", config_.vocab_size, config_.text.width};
  Embedding position_embeddings{this, "embeddings.position_embeddings", config_.positions, config_.text.width};
  LayerNorm layernorm{this, "qformer.layernorm", config_.text.width, config_.text.eps};
  BertLayers layers{this, "qformer.encoder.layer", config_.text};
  Linear vision_projection{this, "vision_projection", config_.text.width, config_.projection_dim, true};
  Linear text_projection{this, "text_projection", config_.text.width, config_.projection_dim, true};

 private:
  Var read_pictures(const BlipPlacement& placed, const Var& seen);  // all query vectors
  Var read_texts(const TokenBatch& batch, const Var& words);        // first tokens
  Var picture_vectors(const BlipPlacement& placed, const Var& queries);
  Var text_vectors(const TokenBatch& batch, const Var& first);
  void trace_itc(const Var& queries, const Var& texts) const;
};

// Every row is a text that looks at a picture: "" if it has none, and mean gray where the picture is missing.
class BlipFf : public BlipSighted {
 public:
  explicit BlipFf(const BlipConfig& config) : BlipSighted(config) {}
  InputShape input() const override;
  int64_t dim() const override { return config_.text.width; }
  double initial_std(const Parameter& parameter) const override { return bert_std(parameter); }
  const TensorNames& names() const override;
  void place(TokenBatch& batch, const Reading& reading) const override;
  Var words(const TokenBatch& batch) override { return word_embeddings(batch.ids); }
  Var read(const TokenBatch& batch, const Var& words, const Var& seen) override;
  StageNote describe(const std::string& stage, const TokenBatch& batch) override;

  Embedding word_embeddings{this, "text_model.embeddings.word_embeddings", config_.vocab_size, config_.text.width};
  Embedding position_embeddings{this, "text_model.embeddings.position_embeddings", config_.positions,
                                config_.text.width};
  LayerNorm norm{this, "text_model.embeddings.LayerNorm", config_.text.width, config_.text.eps};
  BertLayers layers{this, "text_model.encoder.layer", config_.text};
  Linear pooler{this, "text_model.pooler.dense", config_.text.width, config_.text.width, true};

 private:
  Var blank_picture(const BlipPlacement& placed, DType type, Device device);
};

std::unique_ptr<Backbone> make_blip2(const nlohmann::json& config);
nlohmann::json tiny_blip2(int hidden);
std::unique_ptr<Backbone> make_blip_ff(const nlohmann::json& config);
nlohmann::json tiny_blip_ff(int hidden);
nlohmann::json blip_ff_config_of(const nlohmann::json& uniir);
NamedTensors blip_ff_tensors_of(const NamedTensors& uniir);

}  // namespace vlm2vec
