// LoRA: W stays, y = x Wᵀ + s·drop(x) Aᵀ Bᵀ with A [r, in], B [out, r] trained and s = α/r (Hu et al. 2021, eq. 3) or
// α/√r (rsLoRA, Kalajdzievski 2023).
#pragma once
#include <utility>

#include "nn/layers.h"
#include "nn/lora_config.h"

namespace vlm2vec {

// Dropout of adapters. A mask depends on who a row is, not on where it lies: each row of a product has an identity.
struct DropoutState {
  bool active = false;
  uint64_t seed = 0;             // of this training step
  const Tensor* rows = nullptr;  // i64 [rows], of the products in flight; a RowScope sets it
};

// While it lives, products with adapters have these rows. Without a scope, or within one of another number of rows,
// dropout is an error: a new part of a model cannot forget to say whose rows it computes.
class RowScope {
 public:
  RowScope(DropoutState& state, const Tensor&& rows) = delete;  // it would dangle
  RowScope(DropoutState& state, const Tensor& rows) : state_(state), outer_(std::exchange(state.rows, &rows)) {}
  ~RowScope() { state_.rows = outer_; }
  RowScope(const RowScope&) = delete;

 private:
  DropoutState& state_;
  const Tensor* outer_;
};

struct Lora : Module, Adapter {
  Lora(Linear& base, const LoraConfig& config, const DropoutState* dropout, int number);
  Var operator()(const Linear& base, const Var& x) override;
  // Starts as PEFT does: A ~ N(0, 1/r²), B = 0.
  virtual void initialise(uint64_t seed);
  // Must be called after A or B change: computes derived values again.
  virtual void update() {}
  virtual Tensor merged() const;  // the equivalent single weight, f32 (f64 in f64 models), on the host
  double delta_norm() const;      // ‖s·BA‖ (Frobenius)

  const Linear& base;
  const int rank;
  const double scaling;
  Linear lora_A, lora_B;

 protected:
  bool drops() const { return dropout_ && dropout_->active && probability_ > 0; }
  Var dropped(const Var& x) const;
  Var low_rank(const Var& x) const { return lora_B(scale(lora_A(x), scaling)); }
  DType dtype() const { return acc_of(base.weight.value().dtype()); }  // type of the adapter's numbers

 private:
  const double probability_;
  const DropoutState* dropout_;
  const int number_;  // index among the model's adapters: each has its own dropout
};

}  // namespace vlm2vec
