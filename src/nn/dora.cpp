#include "nn/dora.h"

#include <tuple>

namespace vlm2vec {
namespace {

// True where one product of twice the rows costs less than two: it packs the weight once, but copies the rows, and
// their gradients in the backward pass.
bool stacks(const Linear& layer, int64_t rows) {
  const int64_t in = layer.weight.shape()[1], out = layer.weight.shape()[0];
  return !layer.bias && !layer.weight.trained() && rows * (in + out) <= in * out;
}

// x Wᵀ and rest Wᵀ with the bits of linear(), by one product.
std::pair<Var, Var> both_products(const Var& x, const Var& rest, const Tensor& weight, bool bf16_products) {
  const DType type = x.value().dtype();
  const auto factor = [narrow = type == DType::bf16 || (bf16_products && type == DType::f32)](const Tensor& t) {
    return narrow ? t.to(DType::bf16) : t;
  };
  const Tensor W = factor(weight);
  const int64_t n = x.value().rows();
  const auto halves = [n](const Tensor& t) { return std::vector{t.rows(0, n), t.rows(n, 2 * n)}; };
  const Tensor y = matmul(factor(concat_rows(std::vector{x.value(), rest.value()})), W, false, true, {}, type);
  const std::vector<Var> both =
      record("both_products", halves(y), {x, rest}, [=](const std::vector<Tensor>& dys, const std::vector<bool>&) {
        return halves(matmul(factor(concat_rows(dys)), W, false, false, {}, type));
      });
  return {both[0], both[1]};
}

}  // namespace

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
  const Var rest = dropped(x);
  Var plain, base_of_rest;
  if (stacks(layer, x.value().rows()))
    std::tie(plain, base_of_rest) = both_products(x, rest, layer.weight.value(), bf16);
  else plain = layer.plain(x), base_of_rest = linear(rest, layer.weight, {}, bf16);
  return plain + scale_columns(base_of_rest + low_rank(rest), factors) + scale(base_of_rest, -1);
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
