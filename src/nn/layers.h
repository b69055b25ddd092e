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
  Linear(Module* parent, std::string name, int64_t in, int64_t out, bool with_bias);
  ~Linear() override;
  Var operator()(const Var& x) const { return adapter ? (*adapter)(*this, x) : plain(x); }
  Var plain(const Var& x) const {
    return linear(x, weight, bias ? static_cast<const Var&>(*bias) : Var(), bf16_products());
  }

  Parameter weight;
  std::unique_ptr<Parameter> bias;
  std::unique_ptr<Adapter> adapter;
};

struct Embedding : Module {
  Embedding(Module* parent, std::string name, int64_t rows, int64_t columns);
  Var operator()(const Tensor& ids) const { return gather_rows(weight, ids); }
  Parameter weight;
};

struct RmsNorm : Module {
  RmsNorm(Module* parent, std::string name, int64_t columns, double eps);
  Var operator()(const Var& x) const { return rms_norm(x, weight, eps); }
  double eps;
  Parameter weight;
};

struct LayerNorm : Module {
  LayerNorm(Module* parent, std::string name, int64_t columns, double eps);
  Var operator()(const Var& x) const { return layer_norm(x, weight, bias, eps); }
  double eps;
  Parameter weight, bias;
};

}  // namespace vlm2vec
