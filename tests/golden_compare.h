// Comparing tensors with reference data.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>

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

// Expects at most this distance. The largest of a test is among its properties (--gtest_output=json:FILE), one each for
// pixels, vision, text and vector.
inline void expect_within(const std::string& stage, double distance, double limit) {
  EXPECT_LE(distance, limit) << stage;
  const std::string kind = stage == "pixel_values"         ? "pixels"
                           : stage.starts_with("hidden")   ? "text"
                           : stage.ends_with("embedding") ? "vector"
                                                           : "vision";
  static std::map<std::pair<const void*, std::string>, double> worst;
  double& largest = worst[{testing::UnitTest::GetInstance()->current_test_info(), kind}];
  if (!(distance <= largest)) largest = distance;
  std::ostringstream shown;
  shown << largest;
  testing::Test::RecordProperty(kind, shown.str());
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
