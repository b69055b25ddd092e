// For checks that report the largest deviation of many numbers.
#pragma once
#include <algorithm>
#include <cmath>

namespace vlm2vec {

// The larger of two deviations. NaN, which std::max would drop without a word, is the largest of all: infinity.
inline double worse(double a, double b) { return std::isnan(a) || std::isnan(b) ? INFINITY : std::max(a, b); }

}  // namespace vlm2vec
