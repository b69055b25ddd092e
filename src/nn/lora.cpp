#include "nn/lora.h"

#include <cmath>

#include "nn/state.h"
#include "tensor/random.h"

namespace vlm2vec {
Lora::Lora(Linear& layer, const LoraConfig& config, const DropoutState* dropout, int number)
    : Module(&layer, ""),
      base(layer),
      rank(config.rank_of(layer.path())),
      scaling(config.scale_of(layer.path())),
      lora_A{this, "lora_A", layer.weight.shape()[1], rank, false},
      lora_B{this, "lora_B", rank, layer.weight.shape()[0], false},
      probability_(config.dropout),
      dropout_(dropout),
      number_(number) {}

Var Lora::dropped(const Var& x) const {
  CHECK(dropout_->rows, base.path(), ": dropout outside a RowScope");
  return dropout(x, *dropout_->rows, probability_, mix(dropout_->seed, uint64_t(number_)));
}

Var Lora::operator()(const Linear& layer, const Var& x) { return layer.plain(x) + low_rank(drops() ? dropped(x) : x); }

void Lora::initialise(uint64_t seed) {
  const Device device = base.weight.value().device();
  lora_A.weight.set(normal_tensor(lora_A.weight.shape(), 1.0 / rank, seed, dtype(), device));
  lora_B.weight.set(zeros(lora_B.weight.shape(), dtype(), device));
}

Tensor Lora::merged() const {
  const Tensor stored = base.weight.value();
  const Tensor sum = stored.dtype() == dtype() ? stored.clone() : stored.to(dtype());
  matmul_to(scale(lora_B.weight.value(), scaling), lora_A.weight.value(), false, false, sum);
  return sum.to(Device::cpu);
}

double Lora::delta_norm() const {  // ‖BA‖² = Σ (BᵀB) ∘ (AAᵀ), two matrices [r, r]
  const Tensor a = lora_A.weight.value(), b = lora_B.weight.value();
  const auto bb = to_vector<double>(matmul(b, b, true, false)), aa = to_vector<double>(matmul(a, a, false, true));
  double sum = 0;
  for (size_t i = 0; i < aa.size(); ++i) sum += bb[i] * aa[i];
  return std::abs(scaling) * std::sqrt(std::max(sum, 0.0));
}

}  // namespace vlm2vec
