// Moves tensors between checkpoints and modules. Loading is strict: unfilled parameters or unused tensors are an error
// that lists both.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "nn/module.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {

struct LoadOptions {
  Device device = Device::cpu;
  // The type of all tensors. Without it, matrices keep their stored type (f32, bf16 or f16; f64 becomes f32) and
  // vectors become f32.
  std::optional<DType> dtype;
  std::optional<DType> matrices = {};  // the type of matrices alone
  bool tied = false;  // the head is the embedding, so the file may have either
};

// A stored tensor may have another shape of the same size and first dimension: a convolution whose stride is its kernel
// is a Linear on flattened patches. Returns notes for the user on unused and converted tensors. Errors (Exit::data)
// begin with `source`.
std::vector<std::string> load_parameters(Module& module, const NamedTensors& stored, const LoadOptions& options,
                                         const std::string& source);

// Initialises a model: biases 0, norm weights 1, a scalar (CLIP's logit_scale) ln(1/0.07), all others N(0, std²). Each
// parameter has its own random stream, keyed by seed and name.
void initialise(Module& module, double std, uint64_t seed, DType dtype, Device device);
Tensor initial_value(const Parameter& p, double std, uint64_t seed, DType dtype, Device device);
// Returns N(0, std²) numbers from a stream of their own.
Tensor normal_tensor(const Shape& shape, double std, uint64_t seed, DType dtype, Device device);

NamedTensors state_dict(Module& module);

}  // namespace vlm2vec
