// What families with a causal decoder share: its run over the rows of a batch, and the notes on its stages. A Model has
// embed_tokens, layers, each called as a DecoderLayer is, and norm.
#pragma once
#include "io/error.h"
#include "vlm/backbone.h"
#include "vlm/decoder.h"

namespace vlm2vec {

// `all`, `last`: the rotary angles of all tokens, and of each row's last token.
inline TokenRows token_rows(const TokenBatch& batch, const RopeTable& all, const RopeTable& last) {
  return {.cu_seqlens = batch.cu_seqlens,
          .rope = all,
          .last_rows = batch.last_rows,
          .one_each = batch.one_each,
          .last_rope = last,
          .dropout_ids = batch.dropout_ids,
          .last_dropout_ids = batch.last_dropout_ids};
}

template <class Model>
Var Backbone::decode(Model& model, Var x, const TokenRows& rows, const AfterLayer& after, size_t afters) {
  if (trace) trace("hidden_embed", x.value());
  const size_t last = model.layers.size() - 1;
  const bool all_rows = trace || afters > last;
  for (size_t i = 0; i <= last; ++i) {
    const auto layer = [this, &layer = model.layers[i], rows, only_last = !all_rows && i == last](const Var& h) {
      return layer(h, rows, dropout, only_last);
    };
    x = run(layer, x);
    if (trace) trace("hidden_layer_" + std::to_string(i), x.value());
    if (i < afters) x = after(i, x);
  }
  if (trace) trace("hidden_final", model.norm(x).value());
  if (all_rows) x = gather_rows(x, rows.last_rows);
  x = unit(model.norm(x));
  if (trace) trace("embedding", x.value());
  return x;
}

template <class Model>
StageNote describe_decoder(const std::string& stage, const TokenBatch& batch, const DecoderConfig& c, Model& model) {
  if (stage == "hidden_embed")
    return {"the tokens' vectors from a table; pictures' vectors in the places of their tokens",
            count_parameters(model.embed_tokens)};
  if (stage.starts_with("hidden_layer_")) {
    auto& layer = model.layers[size_t(std::stoul(stage.substr(13)))];
    const bool grouped = c.num_key_value_heads < c.num_attention_heads;
    return {sentence("each token attends to itself and those before it (", c.num_attention_heads, " heads",
                     grouped ? sentence(" of queries, ", c.num_key_value_heads, " of keys and values") : "",
                     "), then passes a SwiGLU MLP"),
            count_parameters(layer),
            product_flops(layer, batch.ids.numel()) +
                attention_flops(batch.cu_seqlens, int64_t(c.num_attention_heads) * c.head_dim, true)};
  }
  if (stage == "hidden_final") return {"RMSNorm of every token", count_parameters(model.norm)};
  return {"the last token alone, divided by its length: the embedding of the input"};
}

}  // namespace vlm2vec
