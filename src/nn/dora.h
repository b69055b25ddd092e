// DoRA: W' = diag(m / ‖V‖) V with V = W + s·BA and ‖V‖ the norm of each row; the magnitudes m [out], A and B are
// trained. The gradient treats the norm as a constant (Liu et al. 2024, section 4.3), so it is computed once per value
// of A and B, not per chunk of rows. The bias is not scaled.
#pragma once
#include "nn/lora.h"

namespace vlm2vec {

struct Dora : Lora {
  Dora(Linear& base, const LoraConfig& config, const DropoutState* dropout, int number);
  // y = x W'ᵀ + b. With dropout, as in PEFT:
  // y = x Wᵀ + b + drop(x) (W' − W)ᵀ; few rows go through W once, x and drop(x) stacked
  Var operator()(const Linear& base, const Var& x) override;
  void initialise(uint64_t seed) override;  // m = ‖W‖: the layer's output stays the same
  void update() override;                   // computes ‖V‖
  Tensor merged() const override;
  Parameter lora_magnitude_vector;  // m

 private:
  RowNorms row_norms();
  Tensor base_squares_;   // ‖W‖² per row, f64
  Tensor inverse_norms_;  // 1 / ‖V‖ per row
};

}  // namespace vlm2vec
