#include "mmeb/training/logit_scale.h"

#include <algorithm>
#include <cmath>

namespace vlm2vec {
namespace {

Parameter* initialised(Parameter& log_scale, double temperature) {
  log_scale.set(full({}, std::log(1 / temperature), DType::f64, Device::cpu));
  return &log_scale;
}

double& first(const Tensor& t) { return *t.data<double>(); }

}  // namespace

LogitScale::LogitScale(double temperature, const AdamWOptions& options)
    : parameters_({initialised(log_scale_, temperature)}), optimiser_(parameters_, options) {}

double LogitScale::temperature() const { return std::exp(-first(parameters_.values())); }

void LogitScale::step(double gradient, double learning_rate, double gradient_scale) {
  first(parameters_.gradients()) = gradient;
  optimiser_.step(learning_rate, gradient_scale);
  double& log_scale = first(parameters_.values());
  log_scale = std::min(log_scale, std::log(kMost));
}

std::vector<double> LogitScale::state() const {
  return {first(parameters_.values()), first(optimiser_.first_moment()), first(optimiser_.second_moment())};
}

void LogitScale::restore(const std::vector<double>& state, int64_t steps) {
  CHECK(state.size() == 3, "logit_scale: a state of ", state.size(), " numbers, expected 3");
  const auto padded = [&](double number) {
    const Tensor values = zeros(parameters_.values().shape(), DType::f64, Device::cpu);
    first(values) = number;
    return values;
  };
  first(parameters_.values()) = state[0];
  optimiser_.restore(padded(state[1]), padded(state[2]), steps);
}

}  // namespace vlm2vec
