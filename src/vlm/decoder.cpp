#include "vlm/decoder.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "vlm/config_fields.h"

namespace vlm2vec {

DecoderConfig read_decoder_config(const nlohmann::json& text) {
  DecoderConfig d;
  d.vocab_size = size_field(text, "vocab_size", kMostTokens);
  d.hidden_size = size_field(text, "hidden_size", kMostWidth);
  d.intermediate_size = size_field(text, "intermediate_size", kMostWidth);
  d.num_hidden_layers = int(size_field(text, "num_hidden_layers", kMostLayers));
  const int64_t heads = size_field(text, "num_attention_heads", kMostHeads);
  const auto size_or = [&](const char* field, int64_t most, int64_t otherwise) {  // null is none
    return int(has_value(text, field) ? size_field(text, field, most) : otherwise);
  };
  d.num_attention_heads = int(heads);
  d.num_key_value_heads = size_or("num_key_value_heads", kMostHeads, heads);
  d.head_dim = size_or("head_dim", kMostWidth, d.hidden_size / heads);
  d.rms_norm_eps = positive_field(text, "rms_norm_eps");
  if (text.at("hidden_act") != "silu") fail(Exit::data, "hidden_act is ", text["hidden_act"], ", expected \"silu\"");
  for (const auto& layer : json_field(text, "layer_types", nlohmann::json(nlohmann::json::array())))
    if (layer != "full_attention") fail(Exit::data, "layer_types has ", layer, ", expected full_attention only");
  expect_config(d.head_dim > 0 && d.head_dim % 2 == 0 && heads % d.num_key_value_heads == 0,
                "num_attention_heads must be a multiple of num_key_value_heads, and the head size even");
  return d;
}

DecoderAttention::DecoderAttention(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      q_proj{this, "q_proj", c.hidden_size, int64_t(c.num_attention_heads) * c.head_dim, c.attention_bias},
      k_proj{this, "k_proj", c.hidden_size, int64_t(c.num_key_value_heads) * c.head_dim, c.attention_bias},
      v_proj{this, "v_proj", c.hidden_size, int64_t(c.num_key_value_heads) * c.head_dim, c.attention_bias},
      o_proj{this, "o_proj", int64_t(c.num_attention_heads) * c.head_dim, c.hidden_size, false} {
  if (!c.qk_norm) return;
  q_norm = std::make_unique<RmsNorm>(this, "q_norm", c.head_dim, c.rms_norm_eps);
  k_norm = std::make_unique<RmsNorm>(this, "k_norm", c.head_dim, c.rms_norm_eps);
}

Var DecoderAttention::rotated(const Linear& projection, const std::unique_ptr<RmsNorm>& norm, const Var& x,
                              const RopeTable& angles, int heads) const {
  Var y = projection(x);
  if (norm) y = view((*norm)(view(y, {-1, norm->weight.shape()[0]})), {-1, projection.weight.shape()[0]});
  return rope(y, angles, heads);
}

DecoderMlp::DecoderMlp(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      gate_proj{this, "gate_proj", c.hidden_size, c.intermediate_size, false},
      up_proj{this, "up_proj", c.hidden_size, c.intermediate_size, false},
      down_proj{this, "down_proj", c.intermediate_size, c.hidden_size, false} {}

DecoderLayer::DecoderLayer(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      input_layernorm{this, "input_layernorm", c.hidden_size, c.rms_norm_eps},
      self_attn{this, "self_attn", c},
      post_attention_layernorm{this, "post_attention_layernorm", c.hidden_size, c.rms_norm_eps},
      mlp{this, "mlp", c},
      shape_{.heads = c.num_attention_heads,
             .kv_heads = c.num_key_value_heads,
             .head_dim = c.head_dim,
             .causal = true,
             .scale = 1 / std::sqrt(double(c.head_dim)),
             .window = c.window} {}

Var DecoderLayer::operator()(const Var& x, const TokenRows& rows, DropoutState& dropout, bool only_last) const {
  const RowScope all(dropout, rows.dropout_ids);
  const Var normed = input_layernorm(x);
  const Var k = self_attn.rotated(self_attn.k_proj, self_attn.k_norm, normed, rows.rope, shape_.kv_heads),
            v = self_attn.v_proj(normed);
  if (!only_last) return attend(x, normed, rows.rope, rows.cu_seqlens, k, v, rows.cu_seqlens);
  const RowScope last(dropout, rows.last_dropout_ids);
  return attend(gather_rows(x, rows.last_rows), gather_rows(normed, rows.last_rows), rows.last_rope, rows.one_each, k,
                v, rows.cu_seqlens);
}

Var DecoderLayer::attend(const Var& x, const Var& normed, const RopeTable& angles, const Tensor& cu_q, const Var& k,
                         const Var& v, const Tensor& cu_k) const {
  const Var q = self_attn.rotated(self_attn.q_proj, self_attn.q_norm, normed, angles, shape_.heads);
  const Var attended = attention(q, k, v, cu_q, cu_k, in_precision_of(*this, shape_));
  const auto [h, h_normed] = post_attention_layernorm.of_sum(x, self_attn.o_proj(attended));
  return h + mlp(h_normed);
}

Decoder::Decoder(Module* parent, std::string name, const DecoderConfig& c)
    : Module(parent, std::move(name)),
      embed_tokens{this, "embed_tokens", c.vocab_size, c.hidden_size},
      layers{this, "layers", c.num_hidden_layers, c},
      norm{this, "norm", c.hidden_size, c.rms_norm_eps} {}

}  // namespace vlm2vec
