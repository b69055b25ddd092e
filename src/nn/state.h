// Between checkpoints and modules. Loading is strict: every parameter is filled and every stored tensor used, or an
// error lists both differences.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "nn/module.h"

namespace vlm2vec {

struct LoadOptions {
  Device device = Device::cpu;
  // None: matrices keep the type they are stored in (f32, bf16 or f16; f64 becomes f32), vectors become f32. Else
  // everything becomes this type.
  std::optional<DType> dtype;
  bool tied = false;  // the head is the embedding, so the file may have either
};

// A stored tensor may have another shape of the same size and first dimension: a convolution whose stride is its kernel
// is a Linear on flattened patches. Returns notes for the user: what is not used or was converted. Errors (Exit::data)
// begin with `source`.
std::vector<std::string> load_parameters(Module& module, const NamedTensors& stored, const LoadOptions& options,
                                         const std::string& source);

// Numbers for a model from scratch, as Hugging Face initialises: biases 0, norm weights 1, a scalar (CLIP's
// logit_scale) ln(1/0.07), all others N(0, std²). Each parameter has its own stream, keyed by seed and name.
void initialise(Module& module, double std, uint64_t seed, DType dtype, Device device);
Tensor initial_value(const Parameter& p, double std, uint64_t seed, DType dtype, Device device);
// N(0, std²), a stream of its own.
Tensor normal_tensor(const Shape& shape, double std, uint64_t seed, DType dtype, Device device);

NamedTensors state_dict(Module& module);

}  // namespace vlm2vec
