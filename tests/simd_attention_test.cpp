// Attention of one sequence against the formula in f64, for short and long, causal and full, grouped and cross.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/cpu/simd/simd.h"
#include "tensor/dtype.h"
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

struct Shape {
  int64_t nq, nk;
  int group, head_dim;
  bool causal;
  int64_t window = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << s.nq << " queries, " << s.nk << " keys, group " << s.group << ", head_dim " << s.head_dim
             << (s.causal ? ", causal" : "") << ", window " << s.window;
}

// Rows are wider than what is used, and what lies between must stay.
struct Problem {
  Shape shape;
  int64_t q_stride, k_stride;
  Floats q, k, v, d_o, o, lse, dq, dk, dv;
  AttentionTask task;
  AttentionTaskGradient gradient;
  explicit Problem(const Shape& s, uint64_t seed = 1)
      : shape(s), q_stride(s.group * s.head_dim + 5), k_stride(s.head_dim + 3) {
    q = normal(s.nq * q_stride, seed), d_o = normal(s.nq * q_stride, seed + 1);
    k = normal(s.nk * k_stride, seed + 2), v = normal(s.nk * k_stride, seed + 3);
    o = dq = Floats(s.nq * q_stride + 20, guard), dk = dv = Floats(s.nk * k_stride + 20, guard);
    lse = Floats(s.group * (s.nq + 1), guard);
    task = {.nq = s.nq,
            .nk = s.nk,
            .group = s.group,
            .head_dim = s.head_dim,
            .causal = s.causal,
            .scale = scale(),
            .q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .q_stride = q_stride,
            .k_stride = k_stride,
            .v_stride = k_stride,
            .o = o.data(),
            .lse = lse.data(),
            .o_stride = q_stride,
            .lse_stride = s.nq + 1,
            .window = s.window};
    gradient = {.d_o = d_o.data(),
                .dq = dq.data(),
                .dk = dk.data(),
                .dv = dv.data(),
                .do_stride = q_stride,
                .dq_stride = q_stride,
                .dk_stride = k_stride,
                .dv_stride = k_stride,
                .k_begin = 0,
                .k_end = s.nk};
  }
  Problem(const Problem&) = delete;
  float scale() const { return 1 / std::sqrt(float(shape.head_dim)); }

  // With `bf16`, all factors of products are rounded; the formula takes those of q, k, v and do as they are then.
  void expect_right(const Simd& simd, bool bf16 = false) {
    const auto [nq, nk, group, d, causal, window] = shape;
    std::vector<double> wdk(nk * d), wdv(nk * d);
    const double least = bf16 ? 6e-3 : 0;
    if (bf16)
      for (Floats* x : {&q, &k, &v, &d_o})
        for (float& y : *x) y = vlm2vec::bf16(y);
    (bf16 ? simd.attention_bf16 : simd.attention)(task);
    (bf16 ? simd.attention_bf16_backward : simd.attention_backward)(task, gradient);
    for (int g = 0; g < group; ++g)
      for (int64_t i = 0; i < nq; ++i) {
        const int64_t seen = causal ? std::clamp<int64_t>(i + 1 + nk - nq, 0, nk) : nk;
        const int64_t first = window > 0 ? std::max<int64_t>(0, seen - window) : 0, at = i * q_stride + g * d;
        std::vector<double> s(seen), wo(d), wdq(d);
        double top = -std::numeric_limits<double>::infinity(), sum = 0, delta = 0;
        for (int64_t j = first; j < seen; ++j) {
          for (int64_t c = 0; c < d; ++c) s[j] += double(scale()) * q[at + c] * k[j * k_stride + c];
          top = std::max(top, s[j]);
        }
        for (int64_t j = first; j < seen; ++j) sum += s[j] = std::exp(s[j] - top);
        for (int64_t j = first; j < seen; ++j)
          for (int64_t c = 0; c < d; ++c) wo[c] += (s[j] / sum) * v[j * k_stride + c];
        for (int64_t c = 0; c < d; ++c) delta += wo[c] * d_o[at + c];
        for (int64_t j = first; j < seen; ++j) {
          const double p = s[j] / sum;
          double dp = 0;
          for (int64_t c = 0; c < d; ++c) dp += double(d_o[at + c]) * v[j * k_stride + c];
          const double ds = p * (dp - delta) * scale();
          for (int64_t c = 0; c < d; ++c) {
            wdv[j * d + c] += p * d_o[at + c];
            wdk[j * d + c] += ds * q[at + c];
            wdq[c] += ds * k[j * k_stride + c];
          }
        }
        const float got_lse = lse[g * (nq + 1) + i];
        if (seen == 0) {
          ASSERT_EQ(got_lse, -std::numeric_limits<float>::infinity());
        } else {
          ASSERT_NEAR(got_lse, top + std::log(sum), bf16 ? 2e-3 : 1e-5) << shape;
        }
        for (int64_t c = 0; c < d; ++c) {
          ASSERT_NEAR(o[at + c], wo[c], 1e-5 + least) << shape << ": o of query " << i << ", head " << g;
          ASSERT_NEAR(dq[at + c], wdq[c], 3e-5 + least * (1 + std::abs(wdq[c])))
              << shape << ": dq of query " << i << ", head " << g;
        }
      }
    for (int64_t j = 0; j < nk; ++j)
      for (int64_t c = 0; c < d; ++c) {
        ASSERT_NEAR(dk[j * k_stride + c], wdk[j * d + c], (2e-5 + least) * (1 + std::abs(wdk[j * d + c])))
            << shape << ": dk of key " << j;
        ASSERT_NEAR(dv[j * k_stride + c], wdv[j * d + c], (2e-5 + least) * (1 + std::abs(wdv[j * d + c])))
            << shape << ": dv of key " << j;
      }
    for (int64_t i = 0; i < int64_t(o.size()); ++i)
      if (i >= nq * q_stride || i % q_stride >= group * d) {
        ASSERT_EQ(o[i], guard);
        ASSERT_EQ(dq[i], guard);
      }
    for (int64_t i = 0; i < int64_t(dk.size()); ++i)
      if (i >= nk * k_stride || i % k_stride >= d) {
        ASSERT_EQ(dk[i], guard);
        ASSERT_EQ(dv[i], guard);
      }
  }
};

class AttentionTest : public testing::TestWithParam<const Simd*> {
 protected:
  const Simd& simd = *GetParam();
};
INSTANTIATE_TEST_SUITE_P(Isa, AttentionTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return info.param->name; });

const std::vector<Shape> kWindows{
    {300, 300, 1, 5, true, 1},  {131, 131, 2, 32, true, 17}, {70, 400, 1, 64, true, 128}, {131, 131, 1, 128, true, 130},
    {1, 400, 3, 16, true, 100}, {33, 7, 1, 88, true, 3},     {400, 400, 1, 8, true, 129}};

TEST_P(AttentionTest, EqualsTheFormula) {
  for (bool causal : {false, true})
    for (const Shape& s : std::vector<Shape>{{1, 1, 1, 32, causal},
                                             {4, 4, 2, 32, causal},
                                             {13, 13, 3, 32, causal},
                                             {40, 40, 1, 64, causal},
                                             {17, 17, 1, 72, causal},
                                             {7, 33, 2, 80, causal},
                                             {33, 7, 1, 88, causal},
                                             {70, 129, 1, 96, causal},
                                             {131, 131, 2, 128, causal},
                                             {300, 300, 1, 5, causal},
                                             {66, 400, 1, 1, causal},
                                             {3, 0, 2, 16, causal},
                                             {0, 3, 2, 16, causal}}) {
      Problem(s).expect_right(simd);
      if (simd.attention_bf16) Problem(s).expect_right(simd, true);
    }
}

TEST_P(AttentionTest, AWindowEndsAtTheQuery) {
  for (const Shape& s : kWindows) {
    Problem(s).expect_right(simd);
    if (simd.attention_bf16) Problem(s).expect_right(simd, true);
  }
}

TEST_P(AttentionTest, HugeScoresStayFinite) {
  Problem p({20, 200, 1, 32, true});
  for (float& x : p.q) x *= 300;
  simd.attention(p.task);
  simd.attention_backward(p.task, p.gradient);
  for (int64_t i = 0; i < 20; ++i)
    for (int64_t c = 0; c < 32; ++c)
      ASSERT_TRUE(std::isfinite(p.o[i * p.q_stride + c]) && std::isfinite(p.dq[i * p.q_stride + c]));
}

// A query's result depends on the keys it sees only: not on the queries beside it, not on what comes later.
TEST_P(AttentionTest, SameBitsAloneAndInASequence) {
  for (auto [head_dim, attention] : {std::pair{32, simd.attention}, {72, simd.attention}, {72, simd.attention_bf16}}) {
    if (!attention) continue;
    Problem p({290, 290, 2, head_dim, true});
    attention(p.task);
    for (int64_t i : {0, 5, 63, 127, 128, 200, 289}) {
      Floats o(2 * head_dim), lse(2);
      AttentionTask one = p.task;
      one.nq = 1, one.nk = i + 1, one.q += i * p.q_stride, one.o = o.data(), one.lse = lse.data(), one.lse_stride = 1;
      attention(one);
      for (int64_t c = 0; c < 2 * head_dim; ++c)
        ASSERT_EQ(o[c], p.o[i * p.q_stride + c]) << "query " << i << ", column " << c;
      ASSERT_EQ(lse[0], p.lse[i]);
      ASSERT_EQ(lse[1], p.lse[291 + i]);
    }
  }
}

}  // namespace
}  // namespace vlm2vec
