#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "tensor/finite.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

constexpr double step = 1e-5;

double dot(const Tensor& a, const Tensor& b) {
  const auto x = to_vector<double>(a), y = to_vector<double>(b);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

Tensor random_like(const Tensor& x, uint64_t seed) {
  Random random(seed);
  std::vector<double> values(size_t(x.numel()));
  for (double& value : values) value = random.normal();
  return from_vector(values, x.shape(), x.device());
}

}  // namespace

double gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                 uint64_t seed) {
  std::vector<Var> leaves, constants;
  for (const Tensor& x : inputs) {
    CHECK(x.dtype() == DType::f64, "gradcheck: got ", x,
          ", expected f64; rounding of shorter floats hides the differences");
    leaves.push_back(Var::leaf(x));
    constants.emplace_back(x.clone());  // the input that the differences change
  }
  const Var y = f(leaves);
  const Tensor w = random_like(y.value(), seed);
  y.backward(w);

  double worst = 0;
  for (size_t n = 0; n < inputs.size(); ++n) {
    const std::vector<double> tape =
        leaves[n].grad() ? to_vector<double>(leaves[n].grad()) : std::vector<double>(size_t(inputs[n].numel()));
    const Tensor& place = constants[n].value();
    std::vector<double> x = to_vector<double>(place);
    const auto set = [&](size_t i, double number) { x[i] = number, copy_bytes(from_vector(x, place.shape()), place); };
    double deviation = 0, size = 0.01;
    for (size_t i = 0; i < tape.size(); ++i) {
      const double at = x[i];
      set(i, at + step);
      const double above = dot(f(constants).value(), w);
      set(i, at - step);
      const double below = dot(f(constants).value(), w);
      set(i, at);
      const double difference = (above - below) / (2 * step);
      deviation = worse(deviation, std::abs(tape[i] - difference));
      size = std::max({size, std::abs(tape[i]), std::abs(difference)});
    }
    worst = worse(worst, deviation / size);
  }
  return worst;
}

}  // namespace vlm2vec
