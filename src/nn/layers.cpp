#include "nn/layers.h"

namespace vlm2vec {

Linear::Linear(Module* parent, std::string name, int64_t in, int64_t out, bool with_bias)
    : Module(parent, std::move(name)), weight(this, "weight", {out, in}) {
  if (with_bias) bias = std::make_unique<Parameter>(this, "bias", Shape{out});
}
Linear::~Linear() { adapter.reset(); }  // the adapter is a child of this module and must go first

Embedding::Embedding(Module* parent, std::string name, int64_t rows, int64_t columns)
    : Module(parent, std::move(name)), weight(this, "weight", {rows, columns}) {}

RmsNorm::RmsNorm(Module* parent, std::string name, int64_t columns, double eps)
    : Module(parent, std::move(name)), eps(eps), weight(this, "weight", {columns}) {}

LayerNorm::LayerNorm(Module* parent, std::string name, int64_t columns, double eps)
    : Module(parent, std::move(name)), eps(eps), weight(this, "weight", {columns}), bias(this, "bias", {columns}) {}

}  // namespace vlm2vec
