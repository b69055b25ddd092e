#include "vlm/families/bert.h"

#include <cmath>

namespace vlm2vec {

BertAttention::BertAttention(Module* parent, std::string name, const BertConfig& c, int64_t key_width)
    : Module(parent, std::move(name)),
      query{this, "attention.query", c.width, c.width, true},
      key{this, "attention.key", key_width, c.width, true},
      value{this, "attention.value", key_width, c.width, true},
      dense{this, "output.dense", c.width, c.width, true},
      norm{this, "output.LayerNorm", c.width, c.eps},
      shape_{c.heads, c.heads, int(c.width / c.heads), false, 1 / std::sqrt(double(c.width / c.heads))} {}

Var BertAttention::operator()(const Var& x, const BertRows& rows, const Var& keys, const BertRows& key_rows,
                              DropoutState& dropout) const {
  Var k, v;
  {
    const RowScope scope(dropout, key_rows.dropout_ids);
    k = key(keys), v = value(keys);
  }
  const RowScope scope(dropout, rows.dropout_ids);
  return norm.of_sum(x, dense(vlm2vec::attention(query(x), k, v, rows.cu, key_rows.cu, in_precision_of(*this, shape_))))
      .normed;
}

BertMlp::BertMlp(Module* parent, const std::string& suffix, const BertConfig& c)
    : Module(parent, ""),
      intermediate{this, "intermediate" + suffix + ".dense", c.width, c.mlp_hidden, true},
      dense{this, "output" + suffix + ".dense", c.mlp_hidden, c.width, true},
      norm{this, "output" + suffix + ".LayerNorm", c.width, c.eps} {}

Var BertMlp::operator()(const Var& x) const {
  return norm.of_sum(x, dense(activate(intermediate(x), Activation::gelu))).normed;
}

BertLayer::BertLayer(Module* parent, std::string name, const BertConfig& c)
    : Module(parent, std::move(name)), attention{this, "attention", c, c.width}, mlp{this, "", c} {
  if (c.query_mlps) query_mlp = std::make_unique<BertMlp>(this, "_query", c);
}

Var BertLayer::operator()(const Var& x, const BertRows& rows, const Var& pictures, const BertRows& picture_rows,
                          bool queries, DropoutState& dropout) const {
  Var h = attention(x, rows, x, rows, dropout);
  if (crossattention && pictures.value()) h = (*crossattention)(h, rows, pictures, picture_rows, dropout);
  const RowScope scope(dropout, rows.dropout_ids);
  return queries && query_mlp ? (*query_mlp)(h) : mlp(h);
}

BertLayers::BertLayers(Module* parent, std::string name, const BertConfig& c) : Module(parent, std::move(name)) {
  for (int i = 0; i < c.layers; ++i) {
    items.push_back(std::make_unique<BertLayer>(this, std::to_string(i), c));
    if (i % c.cross_every == 0)
      items[size_t(i)]->crossattention =
          std::make_unique<BertAttention>(items[size_t(i)].get(), "crossattention", c, c.picture_width);
  }
}

}  // namespace vlm2vec
