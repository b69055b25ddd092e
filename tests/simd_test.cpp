// The CPU's inner loops against plain loops in f64, under every instruction set of this machine.
#include "tensor/cpu/simd/simd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "tensor/dtype.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float guard = -77;  // what lies beyond a result and must stay
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats normal(int64_t n, uint64_t seed, double deviation = 1) {
  Random random(seed);
  Floats x(n);
  for (float& v : x) v = float(deviation * random.normal());
  return x;
}

class SimdTest : public testing::TestWithParam<const Simd*> {
 protected:
  const Simd& simd = *GetParam();
};
INSTANTIATE_TEST_SUITE_P(Isa, SimdTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return info.param->name; });

void expect_near(const float* got, const Doubles& want, double tolerance, const char* what) {
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i])))
        << what << ", number " << i << " of " << want.size();
}
void expect_guarded(const Floats& x, size_t n) {
  for (size_t i = n; i < x.size(); ++i) ASSERT_EQ(x[i], guard) << "written beyond its end, at " << i << " of " << n;
}

const std::vector<int64_t> lengths = {1,  2,  3,  4,  5,  7,  8,   9,    15,   16,  17,
                                      31, 32, 33, 63, 64, 65, 100, 1023, 1025, 3001};

// f(x, y, z) → result, number by number; also a number's result must not depend on its place.
void check_elementwise(const std::function<void(int64_t, const float*, const float*, const float*, float*)>& f,
                       const std::function<double(double, double, double)>& formula, double tolerance, const char* what,
                       double deviation = 2) {
  for (int64_t n : lengths) {
    const Floats x = normal(n, 1, deviation), y = normal(n, 2, deviation), z = normal(n, 3, deviation);
    Floats result(n + 40, guard);
    f(n, x.data(), y.data(), z.data(), result.data());
    Doubles want(n);
    for (int64_t i = 0; i < n; ++i) want[i] = formula(x[i], y[i], z[i]);
    expect_near(result.data(), want, tolerance, what);
    expect_guarded(result, n);
    for (int64_t i : {int64_t(0), n / 2, n - 1}) {
      float alone = 0;
      f(1, &x[i], &y[i], &z[i], &alone);
      ASSERT_EQ(alone, result[i]) << what << ": another result alone, at " << i << " of " << n;
    }
  }
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double swish_slope(double x, double a) { return sigmoid(a * x) * (1 + a * x * (1 - sigmoid(a * x))); }
double normal_below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

TEST_P(SimdTest, ElementwiseFormulas) {
  using P = const float*;
  check_elementwise([&](int64_t n, P x, P y, P, float* r) { simd.add(n, x, y, r); },
                    [](double x, double y, double) { return x + y; }, 1e-7, "add");
  check_elementwise([&](int64_t n, P x, P y, P, float* r) { std::copy(y, y + n, r), simd.add_to(n, x, r); },
                    [](double x, double y, double) { return x + y; }, 1e-7, "add_to");
  check_elementwise([&](int64_t n, P x, P y, P, float* r) { simd.multiply(n, x, y, r); },
                    [](double x, double y, double) { return x * y; }, 1e-7, "multiply");
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.scale(n, 1.5f, x, r); },
                    [](double x, double, double) { return 1.5 * x; }, 1e-7, "scale");
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.exp(n, x, 0.5f, r); },
                    [](double x, double, double) { return std::exp(x - 0.5); }, 1e-6, "exp");
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.silu(n, x, r); },
                    [](double x, double, double) { return x * sigmoid(x); }, 4e-7, "silu", 4);
  check_elementwise([&](int64_t n, P dy, P x, P, float* r) { simd.silu_dx(n, dy, x, r); },
                    [](double dy, double x, double) { return dy * swish_slope(x, 1); }, 1e-6, "silu_dx", 4);
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.quick_gelu(n, x, r); },
                    [](double x, double, double) { return x * sigmoid(1.702 * x); }, 4e-7, "quick_gelu", 4);
  check_elementwise([&](int64_t n, P dy, P x, P, float* r) { simd.quick_gelu_dx(n, dy, x, r); },
                    [](double dy, double x, double) { return dy * swish_slope(x, 1.702); }, 2e-6, "quick_gelu_dx", 4);
  const auto tanh_gate = [](double x) { return sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)); };
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.gelu_tanh(n, x, r); },
                    [=](double x, double, double) { return x * tanh_gate(x); }, 4e-7, "gelu_tanh", 4);
  check_elementwise([&](int64_t n, P dy, P x, P, float* r) { simd.gelu_tanh_dx(n, dy, x, r); },
                    [=](double dy, double x, double) {
                      const double s = tanh_gate(x), slope = 2 * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
                      return dy * s * (1 + (1 - s) * x * slope);
                    },
                    2e-6, "gelu_tanh_dx", 4);
  check_elementwise([&](int64_t n, P x, P, P, float* r) { simd.gelu(n, x, r); },
                    [](double x, double, double) { return x * normal_below(x); }, 3e-7, "gelu", 3);
  check_elementwise([&](int64_t n, P dy, P x, P, float* r) { simd.gelu_dx(n, dy, x, r); },
                    [](double dy, double x, double) {
                      return dy * (normal_below(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI));
                    },
                    2e-6, "gelu_dx", 3);
  check_elementwise([&](int64_t n, P g, P u, P, float* r) { simd.swiglu(n, g, u, r); },
                    [](double g, double u, double) { return g * sigmoid(g) * u; }, 1e-6, "swiglu");
  check_elementwise(
      [&](int64_t n, P dy, P g, P u, float* r) {
        Floats dup(n);
        simd.swiglu_backward(n, dy, g, u, r, dup.data());
      },
      [](double dy, double g, double u) { return dy * u * swish_slope(g, 1); }, 2e-6, "swiglu_backward: dgate");
  check_elementwise(
      [&](int64_t n, P dy, P g, P u, float* r) {
        Floats dgate(n);
        simd.swiglu_backward(n, dy, g, u, dgate.data(), r);
      },
      [](double dy, double g, double) { return dy * g * sigmoid(g); }, 1e-6, "swiglu_backward: dup");
}

// Units in the last place between two floats of one sign.
int64_t ulps(float a, float b) { return std::abs(int64_t(std::bit_cast<int32_t>(a)) - std::bit_cast<int32_t>(b)); }

TEST_P(SimdTest, ExpIsRightToTwoUnitsAndAtItsEnds) {
  Floats x;
  for (double v = -86; v < 88.7; v += 0.00137) x.push_back(float(v));
  Floats y(x.size());
  simd.exp(x.size(), x.data(), 0, y.data());
  int64_t worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], float(std::exp(double(x[i])))));
  EXPECT_LE(worst, 2);
  const Floats ends = {infinity, -infinity, 1e30f, -1e30f, 0.0f, -0.0f, 88.8f, -110.0f, std::nanf("")};
  const Floats want = {infinity, 0, infinity, 0, 1, 1, infinity, 0};
  Floats got(ends.size());
  simd.exp(ends.size(), ends.data(), 0, got.data());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[i], want[i]) << "exp(" << ends[i] << ")";
  EXPECT_TRUE(std::isnan(got.back()));
}

TEST_P(SimdTest, GeluIsTheExactOneEverywhere) {
  Floats x;
  for (double v = -12; v < 12; v += 0.00037) x.push_back(float(v));
  Floats y(x.size());
  simd.gelu(x.size(), x.data(), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = x[i] * normal_below(x[i]);
    ASSERT_NEAR(y[i], want, 1e-6 * std::abs(want) * std::max(1.0, double(x[i] * x[i])) + 1e-37)
        << "gelu(" << x[i] << ")";
  }
}

TEST_P(SimdTest, Bf16RoundsAsItsDefinition) {
  Floats x = normal(1000, 5);
  for (uint32_t bits : {0x7F800000u, 0xFF800000u, 0x7FC00000u, 0x7F800001u, 0xFFFFFFFFu, 0x3F808000u, 0x3F818000u,
                        0x3F808001u, 0x7F7FFFFFu, 0u, 0x80000000u})
    x.push_back(std::bit_cast<float>(bits));
  for (int64_t n : {int64_t(1), int64_t(13), int64_t(x.size())}) {
    const Floats some(x.end() - n, x.end());
    std::vector<uint16_t> narrow(n + 20, 0xABCD);
    simd.narrow(n, some.data(), narrow.data());
    Floats wide(n + 20, guard);
    simd.widen(n, narrow.data(), wide.data());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(narrow[i], bf16(some[i]).bits) << some[i];
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), uint32_t(narrow[i]) << 16);
    }
    for (int64_t i = n; i < n + 20; ++i) ASSERT_EQ(narrow[i], 0xABCD);
    expect_guarded(wide, n);
  }
}

TEST_P(SimdTest, DropoutFollowsPhilox) {
  const Philox philox(0x123456789ABCDEFu);
  const float p = 0.3f, kept = 1 / 0.7f;
  for (const uint64_t row : {uint64_t(0), uint64_t(77) << 32 | 5, ~uint64_t(0)})
    for (int64_t n : lengths) {
      Floats x = normal(n, 1);
      x[0] = infinity;  // times 0 is NaN
      Floats y(n + 40, guard);
      simd.dropout(n, philox.key, row, x.data(), p, kept, y.data());
      int64_t dropped = 0;
      for (int64_t i = 0; i < n; ++i) {
        const bool stays = uniform(philox(row, uint64_t(i / 4)).word[i % 4]) >= p;
        const float want = x[i] * (stays ? kept : 0.0f);
        ASSERT_EQ(std::bit_cast<uint32_t>(y[i]) & 0x7FFFFFFFu, std::bit_cast<uint32_t>(want) & 0x7FFFFFFFu)
            << i << " of " << n;
        dropped += !stays;
      }
      if (n > 3000) {
        EXPECT_NEAR(double(dropped), 0.3 * double(n), 100);
      }
      expect_guarded(y, n);
      simd.dropout(n, philox.key, row, x.data(), p, kept, x.data());  // in place
      for (int64_t i = 1; i < n; ++i) ASSERT_EQ(x[i], y[i]) << i << " of " << n;
    }
}

TEST_P(SimdTest, AdamWIsTorchs) {
  const AdamWRates rates{1e-2, 0.9, 0.999, 1e-8, 0.1, 1 - std::pow(0.9, 3), 1 - std::pow(0.999, 3), 0.5};
  for (int64_t n : lengths) {
    Floats p = normal(n, 1), m = normal(n, 3, 0.1), v = normal(n, 4, 0.1);
    const Floats g = normal(n, 2);
    for (float& x : v) x *= x;
    Doubles p1(n), m1(n), v1(n);
    for (int64_t i = 0; i < n; ++i) {
      const double d = 0.5 * g[i];
      m1[i] = 0.9 * m[i] + 0.1 * d;
      v1[i] = 0.999 * v[i] + 0.001 * d * d;
      p1[i] = p[i] * (1 - 1e-3) -
              1e-2 / rates.bias_correction1 * m1[i] / (std::sqrt(v1[i]) / std::sqrt(rates.bias_correction2) + 1e-8);
    }
    simd.adamw(n, p.data(), g.data(), m.data(), v.data(), rates);
    expect_near(m.data(), m1, 1e-6, "m");
    expect_near(v.data(), v1, 1e-6, "v");
    expect_near(p.data(), p1, 1e-6, "p");
  }
}

TEST_P(SimdTest, Reductions) {
  for (int64_t n : lengths) {
    const Floats x = normal(n, 1), y = normal(n, 2);
    double dot = 0, squares = 0, exps = 0;
    float top = -infinity;
    for (int64_t i = 0; i < n; ++i)
      dot += double(x[i]) * y[i], squares += double(x[i]) * x[i], exps += std::exp(x[i] - 3.0),
          top = std::max(top, x[i]);
    EXPECT_NEAR(simd.dot(n, x.data(), y.data()), dot, 1e-6 * double(n));
    EXPECT_NEAR(simd.sum_of_squares(n, x.data()), squares, 1e-6 * squares);
    EXPECT_NEAR(simd.sum_exp(n, x.data(), 3), exps, 1e-6 * exps);
    EXPECT_EQ(simd.max(n, x.data()), top);
  }
  const Floats negative(5, -3.0f);
  EXPECT_EQ(simd.max(5, negative.data()), -3.0f);
  EXPECT_EQ(simd.max(0, nullptr), -infinity);
  EXPECT_EQ(simd.dot(0, nullptr, nullptr), 0);
}

TEST_P(SimdTest, ColumnSumsAccumulateAndDoNotDependOnTheSplit) {
  for (int64_t rows : {1, 2, 64, 65, 200})
    for (int64_t columns : {1, 5, 16, 31, 64, 97, 200}) {
      const int64_t stride = columns + 3;
      const Floats x = normal(rows * stride, 1), start = normal(columns, 2);
      Floats sums = start, parts = start;
      simd.column_sums(rows, columns, x.data(), stride, sums.data());
      Doubles want(start.begin(), start.end());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c) want[c] += x[r * stride + c];
      expect_near(sums.data(), want, 3e-6, "column_sums");
      const int64_t half = columns / 3;
      simd.column_sums(rows, half, x.data(), stride, parts.data());
      simd.column_sums(rows, columns - half, x.data() + half, stride, parts.data() + half);
      EXPECT_EQ(sums, parts);
    }
}

TEST_P(SimdTest, RmsNorm) {
  for (int64_t columns : {1, 3, 16, 33, 96, 100, 384}) {
    const int64_t rows = 67;
    const float eps = 1e-5f;
    const Floats x = normal(rows * columns, 1), w = normal(columns, 2), dy = normal(rows * columns, 3),
                 start = normal(columns, 4);
    Floats y(rows * columns + 20, guard), rstd(rows + 20, guard), dx(rows * columns + 20, guard), dw = start;
    simd.rms_norm(rows, columns, x.data(), w.data(), eps, y.data(), rstd.data());
    simd.rms_norm_dx(rows, columns, dy.data(), x.data(), w.data(), rstd.data(), dx.data());
    simd.rms_norm_dw(rows, columns, dy.data(), x.data(), columns, rstd.data(), dw.data());
    Doubles wy(rows * columns), wdx(rows * columns), wdw(start.begin(), start.end()), wrstd(rows);
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0, along = 0;
      for (int64_t c = 0; c < columns; ++c) squares += double(x[r * columns + c]) * x[r * columns + c];
      const double s = wrstd[r] = 1 / std::sqrt(squares / double(columns) + eps);
      for (int64_t c = 0; c < columns; ++c)
        along += double(dy[r * columns + c]) * w[c] * x[r * columns + c] * s / double(columns);
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t i = r * columns + c;
        wy[i] = x[i] * s * w[c];
        wdx[i] = s * (double(dy[i]) * w[c] - x[i] * s * along);
        wdw[c] += double(dy[i]) * x[i] * s;
      }
    }
    expect_near(rstd.data(), wrstd, 1e-6, "rstd");
    expect_near(y.data(), wy, 1e-6, "y");
    expect_near(dx.data(), wdx, columns == 1 ? 1e-4 : 1e-5, "dx");
    expect_near(dw.data(), wdw, 1e-5, "dw");
    expect_guarded(y, rows * columns), expect_guarded(dx, rows * columns), expect_guarded(rstd, rows);
    Floats parts = start;  // the columns of two threads
    const int64_t half = columns / 3;
    simd.rms_norm_dw(rows, half, dy.data(), x.data(), columns, rstd.data(), parts.data());
    simd.rms_norm_dw(rows, columns - half, dy.data() + half, x.data() + half, columns, rstd.data(),
                     parts.data() + half);
    EXPECT_EQ(parts, dw);
    Floats alone(columns);
    simd.rms_norm(1, columns, &x[66 * columns], w.data(), eps, alone.data(), rstd.data());
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), &y[66 * columns])) << "a row has another result alone";
  }
}

TEST_P(SimdTest, LayerNorm) {
  for (int64_t columns : {2, 3, 16, 33, 96, 100, 384}) {
    const int64_t rows = 67;
    const float eps = 1e-2f;
    Floats x = normal(rows * columns, 1);
    for (float& v : x) v += 100;  // a variance in one pass would lose its digits here
    const Floats w = normal(columns, 2), b = normal(columns, 5), dy = normal(rows * columns, 3),
                 start = normal(columns, 4);
    Floats y(rows * columns + 20, guard), mean(rows), rstd(rows), dx(rows * columns + 20, guard), dw = start;
    simd.layer_norm(rows, columns, x.data(), w.data(), b.data(), eps, y.data(), mean.data(), rstd.data());
    simd.layer_norm_dx(rows, columns, dy.data(), x.data(), w.data(), mean.data(), rstd.data(), dx.data());
    simd.layer_norm_dw(rows, columns, dy.data(), x.data(), columns, mean.data(), rstd.data(), dw.data());
    Doubles wy(rows * columns), wdx(rows * columns), wdw(start.begin(), start.end()), wmean(rows), wrstd(rows);
    for (int64_t r = 0; r < rows; ++r) {
      const auto at = [&](const Floats& v, int64_t c) { return double(v[r * columns + c]); };
      double m = 0, squares = 0, g_mean = 0, gx_mean = 0;
      for (int64_t c = 0; c < columns; ++c) m += at(x, c) / double(columns);
      for (int64_t c = 0; c < columns; ++c) squares += (at(x, c) - m) * (at(x, c) - m);
      const double s = 1 / std::sqrt(squares / double(columns) + eps);
      for (int64_t c = 0; c < columns; ++c)
        g_mean += at(dy, c) * w[c] / double(columns),
            gx_mean += at(dy, c) * w[c] * (at(x, c) - m) * s / double(columns);
      for (int64_t c = 0; c < columns; ++c) {
        const double hat = (at(x, c) - m) * s;
        wy[r * columns + c] = hat * w[c] + b[c];
        wdx[r * columns + c] = s * (at(dy, c) * w[c] - g_mean - hat * gx_mean);
        wdw[c] += at(dy, c) * hat;
      }
      wmean[r] = m, wrstd[r] = s;
    }
    expect_near(mean.data(), wmean, 1e-6, "mean");
    expect_near(rstd.data(), wrstd, 1e-4, "rstd");
    expect_near(y.data(), wy, 1e-4, "y");
    expect_near(dx.data(), wdx, 2e-3, "dx");
    expect_near(dw.data(), wdw, 1e-3, "dw");
    expect_guarded(y, rows * columns), expect_guarded(dx, rows * columns);
    Floats parts = start;  // the columns of two threads
    const int64_t half = columns / 3;
    simd.layer_norm_dw(rows, half, dy.data(), x.data(), columns, mean.data(), rstd.data(), parts.data());
    simd.layer_norm_dw(rows, columns - half, dy.data() + half, x.data() + half, columns, mean.data(), rstd.data(),
                       parts.data() + half);
    EXPECT_EQ(parts, dw);
  }
}

TEST_P(SimdTest, L2Normalize) {
  for (int64_t columns : {1, 7, 64, 130}) {
    const int64_t rows = 5;
    const float eps = 1e-3f;
    Floats x = normal(rows * columns, 1);
    const Floats dy = normal(rows * columns, 3);
    for (int64_t c = 0; c < columns; ++c) x[columns + c] = 0, x[2 * columns + c] *= 1e-6f;
    Floats y(rows * columns + 20, guard), norm(rows), dx(rows * columns + 20, guard);
    simd.l2_normalize(rows, columns, x.data(), eps, y.data(), norm.data());
    simd.l2_normalize_dx(rows, columns, dy.data(), y.data(), norm.data(), eps, dx.data());
    Doubles wy(rows * columns), wdx(rows * columns), wnorm(rows);
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0, along = 0;
      for (int64_t c = 0; c < columns; ++c) squares += double(x[r * columns + c]) * x[r * columns + c];
      wnorm[r] = std::sqrt(squares);
      const double divisor = std::max<double>(wnorm[r], eps);
      for (int64_t c = 0; c < columns; ++c)
        wy[r * columns + c] = x[r * columns + c] / divisor, along += wy[r * columns + c] * dy[r * columns + c];
      if (wnorm[r] <= eps) along = 0;
      for (int64_t c = 0; c < columns; ++c)
        wdx[r * columns + c] = (dy[r * columns + c] - wy[r * columns + c] * along) / divisor;
    }
    expect_near(norm.data(), wnorm, 1e-6, "norm");
    expect_near(y.data(), wy, 1e-6, "y");
    expect_near(dx.data(), wdx, 1e-5, "dx");
    expect_guarded(y, rows * columns), expect_guarded(dx, rows * columns);
  }
}

TEST_P(SimdTest, RopeTurnsPairsAndBack) {
  for (int head_dim : {2, 6, 32, 72, 80, 128}) {
    const int64_t rows = 5, heads = 3, columns = heads * head_dim + 11, half = head_dim / 2;
    const Floats x = normal(rows * columns, 1), angle = normal(rows * half, 2);
    Floats cos(rows * half), sin(rows * half), y(rows * columns + 20, guard), back(rows * columns);
    for (int64_t i = 0; i < rows * half; ++i) cos[i] = std::cos(angle[i]), sin[i] = std::sin(angle[i]);
    simd.rope(rows, columns, x.data(), cos.data(), sin.data(), heads, head_dim, 1, y.data());
    Doubles want(x.begin(), x.end());
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < half; ++i) {
          const int64_t a = r * columns + h * head_dim + i, b = a + half;
          want[a] = double(x[a]) * cos[r * half + i] - double(x[b]) * sin[r * half + i];
          want[b] = double(x[b]) * cos[r * half + i] + double(x[a]) * sin[r * half + i];
        }
    expect_near(y.data(), want, 1e-6, "rope");
    expect_guarded(y, rows * columns);
    back.assign(y.begin(), y.begin() + rows * columns);
    simd.rope(rows, columns, back.data(), cos.data(), sin.data(), heads, head_dim, -1, back.data());  // in place
    expect_near(back.data(), Doubles(x.begin(), x.end()), 1e-6, "rope and back");
  }
}

TEST(SimdChoice, ScopedOverride) {
  for (const Simd* table : available_isas()) {
    const ScopedIsa use(*table);
    EXPECT_EQ(&simd(), table);
    EXPECT_STREQ(isa_name(), table->name);
  }
  EXPECT_STREQ(available_isas().front()->name, "base");
}

TEST(SimdChoice, IsTheEnvironments) {
  const char* wanted = std::getenv("VLM2VEC_ISA");
  EXPECT_STREQ(isa_name(), wanted ? wanted : available_isas().back()->name);
}

// The test above again, in processes of their own.
TEST(SimdChoice, EnvironmentForcesOneAndAWrongOneIsAnError) {
  const auto run_with = [](const std::string& name) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    return std::system(("VLM2VEC_ISA=" + name + " '" + self +
                        "' --gtest_filter=SimdChoice.IsTheEnvironments | grep -q 'PASSED.* 1 test'")
                           .c_str());
  };
  for (const Simd* table : available_isas()) EXPECT_EQ(run_with(table->name), 0) << table->name;
  EXPECT_NE(run_with("sse9"), 0);
  try {
    isa_named("sse9");
    FAIL() << "sse9 was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code, Exit::usage);
    EXPECT_NE(std::string(error.what()).find("base"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace vlm2vec
