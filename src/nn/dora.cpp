#include "nn/dora.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace vlm2vec {
namespace {

// Returns Σ w² of each row in double. Rows are widened a few at a time.
std::vector<double> row_squares(const Tensor& weight) {
  const int64_t rows = weight.rows(), columns = weight.columns(), block = 1 + (1 << 20) / columns;
  std::vector<double> squares;
  for (int64_t begin = 0; begin < rows; begin += block) {
    const Tensor part = weight.rows(begin, std::min(rows, begin + block)).to(acc_of(weight.dtype())).to(Device::cpu);
    dispatch_float(part.dtype(), [&]<class T>() {
      const T* w = part.data<T>();
      for (int64_t row = 0; row < part.rows(); ++row, w += columns)
        squares.push_back(
            std::inner_product(w, w + columns, w, 0.0, std::plus(), [](double x, double y) { return x * y; }));
    });
  }
  return squares;
}

Tensor vector_of(const std::vector<double>& values, DType dtype, Device device) {
  Tensor vector({int64_t(values.size())}, dtype, Device::cpu);
  dispatch_float(dtype, [&]<class T>() {
    std::transform(values.begin(), values.end(), vector.data<T>(), [](double x) { return T(x); });
  });
  return vector.to(device);
}

}  // namespace

Dora::Dora(Linear& layer, const LoraConfig& config, const DropoutState* dropout, int number)
    : Lora(layer, config, dropout, number),
      lora_magnitude_vector(this, "lora_magnitude_vector", {layer.weight.shape()[0]}) {}

Var Dora::operator()(const Linear& layer, const Var& x) {
  CHECK(inverse_norms_.defined(), base.path(), ": DoRA is used before update()");
  const Var factors = multiply(lora_magnitude_vector, Var(inverse_norms_));
  if (!drops()) {
    const Var bias = layer.bias ? static_cast<const Var&>(*layer.bias) : Var();
    return scale_columns(linear(x, layer.weight, {}, layer.bf16_products()) + low_rank(x), factors, bias);
  }
  const Var rest = dropped(x), base_of_rest = linear(rest, layer.weight, {}, layer.bf16_products());
  return layer.plain(x) + scale_columns(base_of_rest + low_rank(rest), factors) + scale(base_of_rest, -1);
}

// ‖V‖² = ‖W‖² + 2s⟨W, BA⟩ + s²‖BA‖², row o: Σ w² + Σ_k B[o,k]·(2s (A Wᵀ)[k,o] + s² (B AAᵀ)[o,k]). Neither V nor a
// wider copy of W is formed; products are f32, their sums double.
std::vector<double> Dora::row_norms() const {
  const Tensor a = lora_A.weight.value(), b = lora_B.weight.value();
  const auto aw = to_vector<double>(matmul(a, base.weight.value(), false, true)),
             baa = to_vector<double>(matmul(b, matmul(a, a, false, true))), rows = to_vector<double>(b);
  std::vector<double> norms = base_squares_;
  const size_t out = norms.size(), r = size_t(rank);
  for (size_t o = 0; o < out; ++o) {
    for (size_t k = 0; k < r; ++k)
      norms[o] += rows[o * r + k] * (2 * scaling * aw[k * out + o] + scaling * scaling * baa[o * r + k]);
    norms[o] = std::sqrt(std::max(norms[o], 0.0));
  }
  return norms;
}

void Dora::update() {
  if (base_squares_.empty()) base_squares_ = row_squares(base.weight.value());
  std::vector<double> inverse = row_norms();
  for (double& norm : inverse) norm = 1 / norm;
  inverse_norms_ = vector_of(inverse, dtype(), base.weight.value().device());
}

void Dora::initialise(uint64_t seed) {
  Lora::initialise(seed);
  update();
  lora_magnitude_vector.set(vector_of(row_norms(), dtype(), base.weight.value().device()));
}

Tensor Dora::merged() const {
  const Tensor sum = Lora::merged();
  const auto m = to_vector<double>(lora_magnitude_vector.value()), inverse = to_vector<double>(inverse_norms_);
  dispatch_float(sum.dtype(), [&]<class T>() {
    for (int64_t row = 0; row < sum.rows(); ++row) {
      T* w = sum.data<T>() + row * sum.columns();
      const T factor = T(m[size_t(row)] * inverse[size_t(row)]);
      for (int64_t c = 0; c < sum.columns(); ++c) w[c] = T(w[c] * factor);
    }
  });
  return sum;
}

}  // namespace vlm2vec
