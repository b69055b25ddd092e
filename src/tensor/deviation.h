// Serves checks that report the largest deviation of many numbers.
#pragma once
#include <algorithm>
#include <cmath>

namespace vlm2vec {

// Returns the larger of two deviations. NaN, which std::max would silently drop, counts as infinity.
inline double worse(double a, double b) { return std::isnan(a) || std::isnan(b) ? INFINITY : std::max(a, b); }

}  // namespace vlm2vec
