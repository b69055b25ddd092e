#include "nn/optim.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/ops.h"

namespace vlm2vec {
namespace {

// Returns a view of elements [begin, end) of a flat buffer.
Tensor slice(const Tensor& flat, int64_t begin, int64_t end, Shape shape) {
  return flat.rows(begin, end).view(std::move(shape));
}

constexpr int64_t kAlignment = 16;  // elements: every parameter starts on a cache line

// True but for biases and norms, which are vectors, and for CLIP's logit_scale, a scalar that has no gradient here.
bool decays(const Parameter& p) {
  const std::string path = p.path();
  return p.is_matrix() || !(p.shape().empty() || path.ends_with("bias") || path.ends_with("weight"));
}

constexpr int64_t kChunk = 1 << 16;  // numbers that one block of kernel::adamw changes, and one thread on the CPU

// Returns the table of kernel::adamw: the numbers of each parameter in chunks.
Tensor chunks_of(const TrainedParameters& parameters) {
  std::vector<int64_t> table;
  for (size_t i = 0; i < parameters.parameters().size(); ++i) {
    const Parameter& p = *parameters.parameters()[i];
    const int64_t count = numel(p.shape()), size = size_of(p.value().dtype());
    const bool copied = parameters.bf16_storage(), narrow = copied && p.value().dtype() == DType::bf16;
    for (int64_t begin = 0; begin < count; begin += kChunk) {
      const int64_t copy = copied ? reinterpret_cast<int64_t>(p.value().raw()) + begin * size : 0;
      table.insert(table.end(), {parameters.offset(i) + begin, std::min(kChunk, count - begin), copy,
                                 (decays(p) ? chunk_decays : 0) | (narrow ? chunk_copy_is_bf16 : 0)});
    }
  }
  return from_vector(table, {int64_t(table.size()) / 4, 4}, parameters.values().device());
}

}  // namespace

TrainedParameters::TrainedParameters(std::vector<Parameter*> parameters, bool bf16_storage)
    : parameters_(std::move(parameters)), bf16_storage_(bf16_storage) {
  CHECK(!parameters_.empty(), "training: no parameter is trained");
  int64_t total = 0;
  for (const Parameter* p : parameters_) {
    offsets_.push_back(total);
    total += (numel(p->shape()) + kAlignment - 1) / kAlignment * kAlignment;
  }
  offsets_.push_back(total);
  const DType dtype = acc_of(parameters_[0]->value().dtype());
  const Device device = parameters_[0]->value().device();
  values_ = zeros({total}, dtype, device);
  gradients_ = zeros({total}, dtype, device);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& p = *parameters_[i];
    const int64_t begin = offsets_[i], end = begin + numel(p.shape());
    const Tensor value = slice(values_, begin, end, p.shape());
    add_to(p.value().to(dtype), value);
    const Tensor kept = bf16_storage_ ? Tensor(p.shape(), p.is_matrix() ? DType::bf16 : DType::f32, device) : value;
    p.set(kept, slice(gradients_, begin, end, p.shape()));
  }
  round_to_storage();
}

void TrainedParameters::round_to_storage() const {
  if (!bf16_storage_) return;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = *parameters_[i];
    const Tensor master = slice(values_, offsets_[i], offsets_[i] + numel(p.shape()), p.shape());
    kernel::cast(p.is_matrix() ? master : master.to(DType::bf16), p.value());
  }
}

void TrainedParameters::restore_masters(const Tensor& masters) {
  CHECK(bf16_storage_ && masters.shape() == values_.shape(), "optimiser: masters ", masters, " for parameters of ",
        values_);
  copy_bytes(masters, values_);
  round_to_storage();
}

void TrainedParameters::clear_gradients() const { kernel::fill(gradients_, 0); }

AdamW::AdamW(const TrainedParameters& parameters, AdamWOptions options)
    : parameters_(parameters),
      options_(options),
      m_(zeros(parameters.values().shape(), parameters.values().dtype(), parameters.values().device())),
      v_(zeros(parameters.values().shape(), parameters.values().dtype(), parameters.values().device())),
      chunks_(chunks_of(parameters)) {}

void AdamW::step(double learning_rate, double gradient_scale) {
  ++steps_;
  const AdamWStep step{learning_rate,
                       options_.beta1,
                       options_.beta2,
                       options_.eps,
                       options_.weight_decay,
                       1 - std::pow(options_.beta1, double(steps_)),
                       1 - std::pow(options_.beta2, double(steps_)),
                       gradient_scale};
  kernel::adamw(parameters_.values(), parameters_.gradients(), m_, v_, chunks_, step);
}

void AdamW::restore(const Tensor& first_moment, const Tensor& second_moment, int64_t steps) {
  CHECK(first_moment.shape() == m_.shape() && second_moment.shape() == v_.shape(), "optimiser: a state of ",
        first_moment, " for parameters of ", m_);
  copy_bytes(first_moment, m_);
  copy_bytes(second_moment, v_);
  steps_ = steps;
}

GradientNorm clip_gradients(double sum_of_squares, double max_norm, double factor) {
  const double norm = std::sqrt(sum_of_squares) * factor;
  const double scale = max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
  return {norm, scale * factor};
}

double Schedule::factor(int64_t step) const {
  if (kind == constant) return 1;
  if (step < warmup_steps) return double(step) / double(std::max<int64_t>(1, warmup_steps));
  if (kind == constant_with_warmup) return 1;
  const double rest = double(std::max<int64_t>(1, total_steps - warmup_steps));
  if (kind == linear) return std::max(0.0, double(total_steps - step) / rest);
  return std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * double(step - warmup_steps) / rest)));
}

Schedule::Kind parse_schedule(const std::string& name) {
  if (name == "linear") return Schedule::linear;
  if (name == "cosine") return Schedule::cosine;
  if (name == "constant") return Schedule::constant;
  if (name == "constant_with_warmup") return Schedule::constant_with_warmup;
  fail(Exit::usage, "--lr_scheduler_type ", name, ": expected linear, cosine, constant or constant_with_warmup");
}

}  // namespace vlm2vec
