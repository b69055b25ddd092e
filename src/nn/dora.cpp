#include "nn/dora.h"

namespace vlm2vec {

Dora::Dora(Linear& layer, const LoraConfig& config, const DropoutState* dropout, int number)
    : Lora(layer, config, dropout, number),
      lora_magnitude_vector(this, "lora_magnitude_vector", {layer.weight.shape()[0]}) {}

Var Dora::operator()(const Linear& layer, const Var& x) {
  CHECK(inverse_norms_.defined(), base.path(), ": DoRA is used before update()");
  const bool bf16 = layer.precision() == Precision::bf16_products;
  const Var factors = multiply(lora_magnitude_vector, Var(inverse_norms_));
  if (!drops()) {
    const Var bias = layer.bias ? static_cast<const Var&>(*layer.bias) : Var();
    return scale_columns(linear(x, layer.weight, {}, bf16) + low_rank(x), factors, bias);
  }
  const Var rest = dropped(x), base_of_rest = linear(rest, layer.weight, {}, bf16);
  return layer.plain(x) + scale_columns(base_of_rest + low_rank(rest), factors) + scale(base_of_rest, -1);
}

// ‖V‖² = ‖W‖² + 2s⟨W, BA⟩ + s²‖BA‖², row o: Σ w² + Σ_k B[o,k]·(2s (A Wᵀ)[k,o] + s² (B AAᵀ)[o,k]). V is not formed.
// Products are f32, their sums double.
RowNorms Dora::row_norms() {
  const Tensor w = base.weight.value(), a = lora_A.weight.value(), b = lora_B.weight.value();
  if (!base_squares_) base_squares_ = row_squares(w);
  return dora_norms(b, base_squares_, matmul(a, w, false, true), matmul(b, matmul(a, a, false, true)), scaling);
}

void Dora::update() { inverse_norms_ = row_norms().inverse; }

void Dora::initialise(uint64_t seed) {
  Lora::initialise(seed);
  const RowNorms start = row_norms();
  inverse_norms_ = start.inverse;
  lora_magnitude_vector.set(start.norms);
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
