// Whether numbers are numbers: what diverged must not take the place of what was good.
#pragma once
#include "tensor/tensor.h"

namespace vlm2vec {

bool all_finite(const Tensor& t);  // f32 or f64, in host memory

}  // namespace vlm2vec
