// BERT's layers (Devlin et al. 2019) with cross-attention to a picture: BLIP's text encoder, BLIP-2's Q-Former. Field
// paths are those of transformers' Blip2QFormerModel.
#pragma once
#include <optional>

#include "nn/layers.h"
#include "vlm/backbone.h"

namespace vlm2vec {

struct BertConfig {
  int layers = 0, heads = 0;
  int64_t width = 0, mlp_hidden = 0, picture_width = 0;
  double eps = 1e-12, initializer_range = 0.02;
  int cross_every = 1;      // layers 0, cross_every, … attend to the picture
  bool query_mlps = false;  // query vectors have MLPs of their own
};

// Packed rows in sequences, and the dropout ids of their rows.
struct BertRows {
  Tensor cu, dropout_ids;
};

struct BertAttention : Module {
  BertAttention(Module* parent, std::string name, const BertConfig& config, int64_t key_width);
  // LayerNorm(x + attention to `keys`)
  Var operator()(const Var& x, const BertRows& rows, const Var& keys, const BertRows& key_rows,
                 DropoutState& dropout) const;
  Linear query, key, value, dense;
  LayerNorm norm;

 private:
  AttentionShape shape_;
};

struct BertMlp : Module {
  // `suffix`: "", or "_query" for that of query vectors.
  BertMlp(Module* parent, const std::string& suffix, const BertConfig& config);
  Var operator()(const Var& x) const;  // LayerNorm(x + MLP(x))
  Linear intermediate, dense;
  LayerNorm norm;
};

struct BertLayer : Module {
  BertLayer(Module* parent, std::string name, const BertConfig& config);
  // Without pictures no cross-attention runs; `queries`: x are query vectors.
  Var operator()(const Var& x, const BertRows& rows, const Var& pictures, const BertRows& picture_rows, bool queries,
                 DropoutState& dropout) const;
  BertAttention attention;
  std::unique_ptr<BertAttention> crossattention;
  BertMlp mlp;
  std::unique_ptr<BertMlp> query_mlp;
};

// The children "0", "1", … are layers; some have a cross-attention.
struct BertLayers : Module {
  BertLayers(Module* parent, std::string name, const BertConfig& config);
  std::vector<std::unique_ptr<BertLayer>> items;
};

}  // namespace vlm2vec
