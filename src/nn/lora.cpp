#include "nn/lora.h"

#include <cmath>

#include "nn/pattern.h"
#include "nn/state.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

// PEFT's get_pattern_key: the first entry whose expression fits the path, or what follows one of its dots.
template <class T>
T looked_up(const std::vector<std::pair<std::string, T>>& patterns, const std::string& path, T otherwise) {
  for (const auto& [expression, value] : patterns)
    if (Pattern("(?:.*\\.)?(?:" + expression + ")").matches_all(path)) return value;
  return otherwise;
}

}  // namespace

std::string LoraConfig::spelled(const std::string& path) const {
  if (!nested_names) return path;
  if (path.starts_with("visual.")) return "model." + path;
  return path.starts_with("model.") ? "model.language_model." + path.substr(6) : path;
}

bool LoraConfig::targets(const std::string& path) const {
  const std::string name = spelled(path);
  if (target_pattern == "all-linear") return true;
  if (!target_pattern.empty()) return Pattern(target_pattern).matches_all(name);
  for (const std::string& target : target_modules)
    if (name == target || name.ends_with("." + target)) return true;
  return false;
}

int LoraConfig::rank_of(const std::string& path) const { return looked_up(rank_pattern, spelled(path), rank); }

double LoraConfig::scale_of(const std::string& path) const {
  const double r = rank_of(path);
  return looked_up(alpha_pattern, spelled(path), alpha) / (use_rslora ? std::sqrt(r) : r);
}

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
  return dropout(x, dropout_->row_keys, probability_, mix(dropout_->seed, uint64_t(number_)));
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
