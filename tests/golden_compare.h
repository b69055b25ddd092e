// Comparing tensors with reference data.
#pragma once
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/ops.h"

namespace vlm2vec {

// The largest |a − b|, and NaN if there is one.
inline double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.numel(), b.numel());
  const auto x = to_vector<double>(a), y = to_vector<double>(b);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (const double d = std::abs(x[i] - y[i]); !(d <= worst)) worst = d;
  return worst;
}

// ‖a − b‖ / ‖b‖
inline double relative_distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.numel(), b.numel());
  const auto x = to_vector<double>(a), y = to_vector<double>(b);
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) difference += (x[i] - y[i]) * (x[i] - y[i]), size += y[i] * y[i];
  return std::sqrt(difference / size);
}

inline double cosine(const Tensor& a, const Tensor& b) {  // of unit vectors
  const auto x = to_vector<double>(a), y = to_vector<double>(b);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

// Rows of x, seen as a matrix.
inline Tensor select(const Tensor& x, const Tensor& rows) {
  std::vector<int32_t> ids;
  for (const int64_t row : to_vector<int64_t>(rows)) ids.push_back(int32_t(row));
  return gather_rows(x.view({x.dim(0), x.numel() / x.dim(0)}), from_vector(ids, x.device()));
}

}  // namespace vlm2vec
