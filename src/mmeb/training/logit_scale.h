// The temperature as a trained number: log(1/τ), CLIP's logit_scale (Radford et al. 2021, section 2.5). It begins with
// --temperature. 1/τ stays at 100 at most, and weight decay leaves it alone. It is f64 and lies on the host, because
// the kernels get 1/τ as an argument.
#pragma once
#include "nn/optim.h"

namespace vlm2vec {

class LogitScale : public Module {
 public:
  static constexpr double kMost = 100;  // of 1/τ

  LogitScale(double temperature, const AdamWOptions& options);
  double temperature() const;
  // Makes one step with d loss / d log(1/τ) times gradient_scale.
  void step(double gradient, double learning_rate, double gradient_scale);
  // log(1/τ) and its two moments, from which restore() goes on with the same bits.
  std::vector<double> state() const;
  void restore(const std::vector<double>& state, int64_t steps);

 private:
  Parameter log_scale_{this, "logit_scale", {}};
  TrainedParameters parameters_;
  AdamW optimiser_;
};

}  // namespace vlm2vec
