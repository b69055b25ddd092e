// Keeps NaN and infinity from passing unseen: into a checkpoint, or through a check of deviations.
#pragma once
#include <algorithm>
#include <cmath>

#include "tensor/tensor.h"

namespace vlm2vec {

bool all_finite(const Tensor& t);  // t must be f32 or f64, in host memory

// Returns the larger of two deviations. NaN, which std::max would silently drop, counts as infinity.
inline double worse(double a, double b) { return std::isnan(a) || std::isnan(b) ? INFINITY : std::max(a, b); }

}  // namespace vlm2vec
