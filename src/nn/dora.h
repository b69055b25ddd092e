// DoRA: W' = diag(m / ‖V‖) V with V = W + s·BA and ‖V‖ the norm of each row; the magnitudes m [out], A and B are
// trained. The norm is a constant of the gradient (Liu et al. 2024, section 4.3) and therefore computed once for every
// value of A and B, not for every chunk of rows. The bias is not scaled.
#pragma once
#include "nn/lora.h"

namespace vlm2vec {

struct Dora : Lora {
  Dora(Linear& base, const LoraConfig& config, const DropoutState* dropout, int number);
  // y = x W'ᵀ + b. With dropout as PEFT has it, W' sees the dropped x in full:
  // y = x Wᵀ + b + drop(x) (W' − W)ᵀ
  Var operator()(const Linear& base, const Var& x) override;
  void initialise(uint64_t seed) override;  // m = ‖W‖: nothing changes at first
  void update() override;                   // ‖V‖
  Tensor merged() const override;
  Parameter lora_magnitude_vector;  // m

 private:
  std::vector<double> row_norms() const;
  std::vector<double> base_squares_;  // ‖W‖² by row
  Tensor inverse_norms_;              // 1 / ‖V‖ by row
};

}  // namespace vlm2vec
