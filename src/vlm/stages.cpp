#include "vlm/stages.h"

namespace vlm2vec {
namespace {

Tensor on_host(const Tensor& x) {
  if (is_float(x.dtype())) return x.to(DType::f32).to(Device::cpu).clone();
  return from_vector(to_vector<int64_t>(x), x.shape());
}

}  // namespace

std::vector<Stage> stages_of(Encoder& encoder, const EncoderInput& input) {
  const NoGrad no_grad;
  std::vector<Stage> stages;
  encoder.trace = [&](const std::string& name, const Tensor& value) { stages.push_back({name, on_host(value)}); };
  try {
    encoder(*encoder.prepare({&input, 1}));
  } catch (...) {
    encoder.trace = nullptr;
    throw;
  }
  encoder.trace = nullptr;
  Tensor& embedding = stages.back().value;
  embedding = embedding.view({embedding.numel()});
  return stages;
}

}  // namespace vlm2vec
