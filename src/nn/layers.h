// The layers that models are made of.
#pragma once
#include "autograd/ops.h"
#include "nn/module.h"

namespace vlm2vec {

struct Linear;

// Changes the result of a Linear (LoRA). Models never mention it.
struct Adapter {
  virtual ~Adapter() = default;
  virtual Var operator()(const Linear& base, const Var& x) = 0;
};

// y = x Wᵀ + b, W [out, in]
struct Linear : Module {
  Linear(Module* parent, std::string name, int64_t in, int64_t out, bool with_bias)
      : Module(parent, std::move(name)), weight(this, "weight", {out, in}) {
    if (with_bias) bias = std::make_unique<Parameter>(this, "bias", Shape{out});
  }
  ~Linear() override { adapter.reset(); }  // a child of this module, which must go first
  Var operator()(const Var& x) const { return adapter ? (*adapter)(*this, x) : plain(x); }
  Var plain(const Var& x) const {
    return linear(x, weight, bias ? static_cast<const Var&>(*bias) : Var(),
                  precision() == Precision::bf16_products);
  }

  Parameter weight;
  std::unique_ptr<Parameter> bias;
  std::unique_ptr<Adapter> adapter;
};

struct Embedding : Module {
  Embedding(Module* parent, std::string name, int64_t rows, int64_t columns)
      : Module(parent, std::move(name)), weight(this, "weight", {rows, columns}) {}
  Var operator()(const Tensor& ids) const {
    return gather_rows(weight, ids, precision() == Precision::bf16 ? DType::bf16 : acc_of(weight.value().dtype()));
  }
  Parameter weight;
};

// Attention in the module's precision.
inline AttentionShape in_precision_of(const Module& module, AttentionShape shape) {
  shape.bf16_products = module.precision() == Precision::bf16_products;
  return shape;
}

struct RmsNorm : Module {
  RmsNorm(Module* parent, std::string name, int64_t columns, double eps)
      : Module(parent, std::move(name)), eps(eps), weight(this, "weight", {columns}) {}
  Var operator()(const Var& x) const { return rms_norm(x, weight, eps); }
  Residual of_sum(const Var& x, const Var& added) const { return add_rms_norm(x, added, weight, eps); }
  double eps;
  Parameter weight;
};

struct LayerNorm : Module {
  LayerNorm(Module* parent, std::string name, int64_t columns, double eps)
      : Module(parent, std::move(name)), eps(eps), weight(this, "weight", {columns}), bias(this, "bias", {columns}) {}
  Var operator()(const Var& x) const { return layer_norm(x, weight, bias, eps); }
  Residual of_sum(const Var& x, const Var& added) const { return add_layer_norm(x, added, weight, bias, eps); }
  double eps;
  Parameter weight, bias;
};

}  // namespace vlm2vec
