// Training: parameter values and gradients in two flat buffers, AdamW, learning-rate schedules, clipping.
#pragma once
#include <string>
#include <vector>

#include "nn/module.h"

namespace vlm2vec {

// Moves the trained parameters into one buffer (f32, or f64 for f64 models) beside a gradient buffer of the same
// layout. Each parameter becomes a leaf whose value and gradient are views. Clipping, AdamW and an all-reduce over
// devices work on the buffers. With bf16_storage the buffer holds f32 masters; the model uses and saves rounded
// copies: matrices in bf16, vectors in f32. A number takes 8 bytes, 10 with bf16_storage; AdamW adds 8,
// and 32 for each 65,536 numbers of a parameter.
class TrainedParameters {
 public:
  explicit TrainedParameters(std::vector<Parameter*> parameters, bool bf16_storage = false);
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  const Tensor& values() const { return values_; }
  const Tensor& gradients() const { return gradients_; }
  int64_t offset(size_t i) const { return offsets_[i]; }  // start of parameter i; offset(n) is the total
  bool bf16_storage() const { return bf16_storage_; }
  void clear_gradients() const;
  void round_to_storage() const;                // must be called after values() change
  void restore_masters(const Tensor& masters);  // needs bf16_storage

 private:
  std::vector<Parameter*> parameters_;
  std::vector<int64_t> offsets_;
  Tensor values_, gradients_;
  bool bf16_storage_;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;  // not for biases and norms, as in Hugging Face's Trainer
};

class AdamW {
 public:
  AdamW(const TrainedParameters& parameters, AdamWOptions options);
  // Makes one step with the gradients times gradient_scale.
  void step(double learning_rate, double gradient_scale);
  int64_t steps() const { return steps_; }
  const TrainedParameters& parameters() const { return parameters_; }
  const Tensor& first_moment() const { return m_; }
  const Tensor& second_moment() const { return v_; }
  void restore(const Tensor& first_moment, const Tensor& second_moment, int64_t steps);

 private:
  const TrainedParameters& parameters_;
  AdamWOptions options_;
  Tensor m_, v_, chunks_;
  int64_t steps_ = 0;
};

// Returns factor·√Σ g² over all gradients, and the scale for the gradients. The scale is `factor`, less if the norm
// exceeds max_norm (torch's clip_grad_norm_: max_norm / (norm + 1e-6)). A factor of 1/k averages k summed gradients.
struct GradientNorm {
  double norm, scale;
};
GradientNorm clip_gradients(double sum_of_squares, double max_norm, double factor = 1);

// Hugging Face's schedules: the factor on the learning rate in step `step` (from 0). Warm-up starts at 0, so the first
// step then changes nothing; `constant` has no warm-up.
struct Schedule {
  enum Kind { linear, cosine, constant, constant_with_warmup } kind = linear;
  int64_t warmup_steps = 0, total_steps = 0;
  double factor(int64_t step) const;
};
Schedule::Kind parse_schedule(const std::string& name);  // linear, cosine, constant, constant_with_warmup

}  // namespace vlm2vec
