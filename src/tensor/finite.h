// Finite checks: a checkpoint with NaN or infinity must never replace a sound one.
#pragma once
#include "tensor/tensor.h"

namespace vlm2vec {

bool all_finite(const Tensor& t);  // t must be f32 or f64, in host memory

}  // namespace vlm2vec
