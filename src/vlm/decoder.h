// The causal transformer that Qwen2, Mistral, Llama and Phi-3 share: pre-norm layers of grouped-query attention with
// rotary positions and a SwiGLU MLP. Rows of all sequences lie packed one after another; cu_seqlens says where each
// begins.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "nn/layers.h"
#include "nn/lora.h"

namespace vlm2vec {

struct DecoderConfig {
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0;
  int num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  double rms_norm_eps = 1e-6, rope_theta = 1e6;
  bool attention_bias = true;  // of q, k and v
  int window = 0;              // a token sees so many, itself among them; 0: all before it
  bool qk_norm = false;        // RMSNorm of each head's queries and keys, before the rotation (Qwen3)
};

// Reads the fields that all families spell alike, from `text` over its defaults: sizes, heads, rms_norm_eps, and
// hidden_act, which must be silu. Throws Exit::data, without the file's name.
DecoderConfig read_decoder_config(const nlohmann::json& text);

struct DecoderAttention : Module {
  DecoderAttention(Module* parent, std::string name, const DecoderConfig& config);
  // Queries or keys, with heads that are normalised if there is such a norm, then rotated.
  Var rotated(const Linear& projection, const std::unique_ptr<RmsNorm>& norm, const Var& x, const RopeTable& angles,
              int heads) const;
  Linear q_proj, k_proj, v_proj, o_proj;
  std::unique_ptr<RmsNorm> q_norm, k_norm;
};

struct DecoderMlp : Module {
  DecoderMlp(Module* parent, std::string name, const DecoderConfig& config);
  Var operator()(const Var& x) const { return down_proj(swiglu(gate_proj(x), up_proj(x))); }
  Linear gate_proj, up_proj, down_proj;
};

// Packed token rows and where their sequences lie.
struct TokenRows {
  Tensor cu_seqlens;                     // i32 [sequences + 1]
  RopeTable rope;                        // angles of every row
  Tensor last_rows;                      // i32 [sequences]: the last row of each
  Tensor one_each;                       // i32 [sequences + 1]: 0, 1, 2, …: the cu_seqlens of the last rows alone
  RopeTable last_rope;                   // their angles
  Tensor dropout_ids, last_dropout_ids;  // i64 [tokens], [sequences]
};

struct DecoderLayer : Module {
  DecoderLayer(Module* parent, std::string name, const DecoderConfig& config);
  // only_last: for the last row of each sequence only, since the last layer needs no others. The bits are the same,
  // because rows depend on each other through k and v only.
  Var operator()(const Var& x, const TokenRows& rows, DropoutState& dropout, bool only_last) const;

  RmsNorm input_layernorm;
  DecoderAttention self_attn;
  RmsNorm post_attention_layernorm;
  DecoderMlp mlp;

 private:
  // Runs the rest of the layer for the rows x, given keys and values.
  Var attend(const Var& x, const Var& normed, const RopeTable& angles, const Tensor& cu_q, const Var& k, const Var& v,
             const Tensor& cu_k) const;
  AttentionShape shape_;
};

struct Decoder : Module {
  Decoder(Module* parent, std::string name, const DecoderConfig& config);
  Embedding embed_tokens;
  ModuleList<DecoderLayer> layers;
  RmsNorm norm;
};

}  // namespace vlm2vec
