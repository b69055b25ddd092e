// Matrix products against plain loops in f64, and the rule that a number's bits depend on its own row and column only.
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>

#include "tensor/cpu/shared.h"
#include "tensor/dtype.h"
#include "tensor/parallel.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

constexpr float guard = -77;
using Floats = std::vector<float>;

Floats normal(int64_t n, uint64_t seed) {
  Random random(seed);
  Floats x(n);
  for (float& v : x) v = float(random.normal());
  return x;
}

// A product of random matrices; rows of all three are longer than needed.
struct Problem {
  Floats a, b, c, bias, start;
  std::vector<uint16_t> a_bf16, b_bf16;
  GemmTask task;
  Problem(int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool bf16_b, bool accumulate, bool with_bias,
          bool bf16_a = false) {
    const int64_t sa = (ta ? m : k) + 3, sb = (tb ? k : n) + 5, sc = n + 2;
    a = normal((ta ? k : m) * sa, 1), b = normal((tb ? n : k) * sb, 2), start = normal(m * sc + 64, 3),
    bias = normal(n, 4);
    const auto round = [](Floats& x, std::vector<uint16_t>& bits) {
      for (float& v : x) bits.push_back(bf16(v).bits), v = bf16(v);
    };
    if (bf16_a) round(a, a_bf16);
    if (bf16_b) round(b, b_bf16);
    for (int64_t i = 0; i < int64_t(start.size()); ++i)
      if (i >= m * sc || i % sc >= n) start[i] = guard;
    c = start;
    task = {.m = m,
            .n = n,
            .k = k,
            .a = a.data(),
            .a_stride = sa,
            .b = b.data(),
            .b_stride = sb,
            .c = c.data(),
            .c_stride = sc,
            .transpose_a = ta,
            .transpose_b = tb,
            .a_type = bf16_a ? Stored::bf16 : Stored::f32,
            .b_type = bf16_b ? Stored::bf16 : Stored::f32,
            .accumulate = accumulate,
            .bias = with_bias ? bias.data() : nullptr};
    if (bf16_a) task.a = a_bf16.data();
    if (bf16_b) task.b = b_bf16.data();
  }
  void expect_right() const {
    const GemmTask& g = task;
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        double sum = (g.accumulate ? start[i * g.c_stride + j] : 0.0) + (g.bias ? bias[j] : 0.0), size = 1;
        for (int64_t t = 0; t < g.k; ++t) {
          const double term = double(g.transpose_a ? a[t * g.a_stride + i] : a[i * g.a_stride + t]) *
                              double(g.transpose_b ? b[j * g.b_stride + t] : b[t * g.b_stride + j]);
          sum += term, size += term * term;
        }
        ASSERT_NEAR(c[i * g.c_stride + j], sum, 8e-6 * std::sqrt(size))
            << g.m << "x" << g.n << "x" << g.k << " at " << i << ", " << j;
      }
    for (int64_t i = 0; i < int64_t(c.size()); ++i)
      if (i >= g.m * g.c_stride || i % g.c_stride >= g.n) {
        ASSERT_EQ(c[i], guard) << "written beyond the result";
      }
  }
};

class GemmTest : public testing::TestWithParam<const Simd*> {
 protected:
  const Simd& table = *GetParam();
  const ScopedIsa use{table};
};
INSTANTIATE_TEST_SUITE_P(Isa, GemmTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return info.param->name; });

TEST_P(GemmTest, EqualsPlainLoops) {
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                         {1, 33, 7},
                         {3, 16, 0},
                         {13, 15, 16},
                         {14, 32, 17},
                         {15, 33, 256},
                         {29, 48, 257},
                         {61, 70, 100},
                         {5, 97, 515},
                         {340, 9, 5},
                         {2, 1540, 1}})
    for (int flags = 0; flags < 64; ++flags) {
      Problem p(m, n, k, flags & 1, flags & 2, flags & 4, flags & 8, flags & 16, flags & 32);
      table.gemm(p.task, 0, m, 0, n);
      p.expect_right();
      if (!cpu::both_bf16(p.task) || !table.gemm_bf16) continue;
      p.c = p.start;
      table.gemm_bf16(p.task, 0, m, 0, n);
      p.expect_right();
    }
}

// B in f16: every product has the bits that it has with the same numbers in f32.
TEST_P(GemmTest, F16WeightsAreWidenedOnly) {
  for (bool transpose_b : {false, true})
    for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 33, 17}, {29, 70, 257}, {250, 97, 40}}) {
      Problem wide(m, n, k, false, transpose_b, false, true, true);
      std::vector<uint16_t> half(wide.b.size());
      Random random(7);
      for (size_t i = 0; i < half.size(); ++i) {
        half[i] = uint16_t(random.below(0x4000) | random.below(2) << 15);  // |x| < 2, denormals among them
        wide.b[i] = f16{half[i]};
      }
      Problem narrow = wide;
      wide.task.c = wide.c.data(), wide.task.a = wide.a.data(), wide.task.b = wide.b.data();
      narrow.task.c = narrow.c.data(), narrow.task.a = narrow.a.data(), narrow.task.b = half.data();
      wide.task.bias = narrow.task.bias = wide.bias.data();
      narrow.task.b_type = Stored::f16;
      table.gemm(wide.task, 0, m, 0, n);
      table.gemm(narrow.task, 0, m, 0, n);
      ASSERT_EQ(wide.c, narrow.c);
      wide.expect_right();
    }
}

TEST_P(GemmTest, RangesTouchTheirPartOnly) {
  Problem p(50, 70, 40, false, true, false, false, true), whole = p;
  p.task.c = p.c.data(), p.task.a = p.a.data(), p.task.b = p.b.data(), p.task.bias = p.bias.data();
  whole.task.c = whole.c.data();
  table.gemm(whole.task, 0, 50, 0, 70);
  table.gemm(p.task, 7, 23, 11, 52);
  for (int64_t i = 0; i < 50; ++i)
    for (int64_t j = 0; j < 70; ++j) {
      const bool in = i >= 7 && i < 23 && j >= 11 && j < 52;
      ASSERT_EQ(p.c[i * p.task.c_stride + j], (in ? whole.c : p.start)[i * p.task.c_stride + j]) << i << ", " << j;
    }
}

// Each row of the product has the bits of that row computed alone; each column likewise; with and without
// transpositions.
TEST_P(GemmTest, SameBitsAloneAndInABatch) {
  for (int64_t k : {5, 96, 300, 700, 1400})
    for (int flags = 0; flags < 16; ++flags) {
      const bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4, bf16 = flags & 8;
      const int64_t m = 341, n = 219;  // enough for both operands to be packed, A in two blocks
      const auto gemm = bf16 ? table.gemm_bf16 : table.gemm;
      if (!gemm) continue;
      Problem p(m, n, k, ta, tb, bf16, accumulate, true, bf16);
      gemm(p.task, 0, m, 0, n);
      for (int64_t i = 0; i < m; i += 19)
        for (int64_t width : {int64_t(1), int64_t(17), n}) {
          Floats row(p.start.begin() + i * p.task.c_stride, p.start.begin() + i * p.task.c_stride + n);
          GemmTask one = p.task;
          one.m = 1, one.n = width, one.c = row.data() + n - width;
          const int64_t at_a = ta ? i : i * one.a_stride, at_b = tb ? (n - width) * one.b_stride : n - width;
          one.a = p.a.data() + at_a, one.b = p.b.data() + at_b;
          if (bf16) one.a = p.a_bf16.data() + at_a, one.b = p.b_bf16.data() + at_b;
          one.bias = p.bias.data() + n - width;
          gemm(one, 0, 1, 0, width);
          for (int64_t j = n - width; j < n; ++j)
            ASSERT_EQ(row[j], p.c[i * p.task.c_stride + j])
                << "row " << i << ", column " << j << ", " << width << " columns, k " << k;
        }
    }
}

TEST_P(GemmTest, SameBitsForAnyNumberOfThreads) {
  const int before = threads();
  for (auto [m, n, k] : {std::array<int64_t, 3>{250, 96, 70}, {65, 200, 300}, {1, 1500, 550}})
    for (int flags = 0; flags < 8; ++flags) {
      Floats first;
      for (int n_threads : {1, 2, 3, 12}) {
        set_threads(n_threads);
        Problem p(m, n, k, flags & 1, flags & 2, flags & 4, true, false, flags & 4);
        cpu::gemm(p.task);
        if (n_threads == 1) first = p.c, p.expect_right();
        EXPECT_EQ(p.c, first) << m << "x" << n << "x" << k << " with " << n_threads << " threads";
      }
    }
  set_threads(before);
}

TEST_P(GemmTest, Bf16FactorsGiveTheBitsOfTheSameF32Factors) {
  for (int flags = 0; flags < 32; ++flags) {
    Problem p(45, 77, std::array{13, 96, 290, 715}[flags >> 3], flags & 1, flags & 2, true, false, false, flags & 4);
    Floats other(p.c.size(), guard);
    GemmTask f32 = p.task;
    f32.a = p.a.data(), f32.b = p.b.data(), f32.a_type = f32.b_type = Stored::f32, f32.c = other.data();
    table.gemm(p.task, 0, 45, 0, 77);
    table.gemm(f32, 0, 45, 0, 77);
    for (int64_t i = 0; i < 45; ++i)
      for (int64_t j = 0; j < 77; ++j) ASSERT_EQ(p.c[i * f32.c_stride + j], other[i * f32.c_stride + j]);
  }
}

}  // namespace
}  // namespace vlm2vec
