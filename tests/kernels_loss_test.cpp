// infonce.cu: forward against plain loops in double, backward against differences.
#include <numeric>

#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

Numbers cross_entropy(const Numbers& x, size_t columns, const std::vector<int32_t>& targets) {
  size_t r = 0;
  return by_rows(x, columns, [&](const Numbers& row) {
    const double top = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (double v : row) sum += std::exp(v - top);
    return Numbers{top + std::log(sum) - row[size_t(targets[r++])]};
  });
}

Numbers scores(const Numbers& q, const Numbers& t, size_t d, double inverse_tau) {
  Numbers s;
  for (size_t i = 0; i < q.size() / d; ++i)
    for (size_t j = 0; j < t.size() / d; ++j) {
      s.push_back(0);
      for (size_t c = 0; c < d; ++c) s.back() += inverse_tau * q[i * d + c] * t[j * d + c];
    }
  return s;
}

TEST(KernelsInfoNce, ForwardAndBackward) {
  struct Case {
    int64_t queries, targets, d;
  };
  for (const Case& k : {Case{1, 1, 3}, Case{5, 10, 40}, Case{17, 34, 5}, Case{6, 54, 8}})
    in_every_format(
        [&k](DType dtype) {
          const double inverse_tau = 2.5;
          const Tensor q = random({k.queries, k.d}, dtype, 16), t = random({k.targets, k.d}, dtype, 17);
          const Tensor loss = unwritten({k.queries}, dtype), lse = unwritten({k.queries}, dtype),
                       dloss = random({k.queries}, dtype, 18);
          const Tensor best({k.queries}, DType::i32, Device::emu);
          std::vector<int32_t> labels;
          for (int64_t i = 0; i < k.queries; ++i) labels.push_back(int32_t(i * (k.targets / k.queries)));
          const auto forward = [&](const Numbers& q, const Numbers& t) {
            return cross_entropy(scores(q, t, size_t(k.d), inverse_tau), size_t(k.targets), labels);
          };
          emu::infonce(q, t, integers(labels), {}, inverse_tau, loss, lse, best);
          expect_close(numbers(loss), forward(numbers(q), numbers(t)), 10 * tolerance(dtype), "loss");
          const Numbers s = scores(numbers(q), numbers(t), size_t(k.d), inverse_tau);
          for (int64_t i = 0; i < k.queries; ++i) {
            const auto row = s.begin() + i * k.targets;
            EXPECT_EQ(to_vector<int32_t>(best)[size_t(i)], std::max_element(row, row + k.targets) - row);
          }
          const Tensor dq = unwritten_like(q), dt = unwritten_like(t);
          emu::infonce_backward(dloss, q, t, integers(labels), {}, lse, inverse_tau, dq, dt);
          const Numbers q_ = numbers(q), t_ = numbers(t), d_ = numbers(dloss);
          const double limit = dtype == DType::f64 ? 1e-7 : 1e-4;
          expect_close(numbers(dq), differences([&](const Numbers& q) { return forward(q, t_); }, q_, d_), limit, "dq");
          expect_close(numbers(dt), differences([&](const Numbers& t) { return forward(q_, t); }, t_, d_), limit, "dt");
        },
        {DType::f64, DType::f32});
}

TEST(KernelsInfoNce, BestIsTheFirstOfEqualScores) {
  in_every_schedule([] {
    Numbers targets(40, 1);
    targets[0] = targets[39] = 0.5;  // 1 … 38 are equal
    const Tensor q = tensor({1, 1}, DType::f32, {2}), t = tensor({40, 1}, DType::f32, targets);
    const Tensor loss = unwritten({1}, DType::f32), lse = unwritten({1}, DType::f32),
                 best({1}, DType::i32, Device::emu);
    emu::infonce(q, t, integers({0}), {}, 1, loss, lse, best);
    EXPECT_EQ(item(best), 1);
  });
}

TEST(KernelsInfoNce, StripsJoin) {  // 300 queries are two strips: rows of both, and the targets' sums over both
  const int64_t n = 300;
  const Tensor q = random({n, 2}, DType::f64, 19), t = random({n, 2}, DType::f64, 20),
               dloss = random({n}, DType::f64, 21);
  const Tensor loss = unwritten({n}, DType::f64), lse = unwritten({n}, DType::f64), best({n}, DType::i32, Device::emu);
  const Tensor dq = unwritten_like(q), dt = unwritten_like(t);
  std::vector<int32_t> own(static_cast<size_t>(n));
  std::iota(own.begin(), own.end(), 0);
  emu::infonce(q, t, integers(own), {}, 1, loss, lse, best);
  emu::infonce_backward(dloss, q, t, integers(own), {}, lse, 1, dq, dt);
  const Numbers s = scores(numbers(q), numbers(t), 2, 1), q_ = numbers(q), t_ = numbers(t), lse_ = numbers(lse);
  Numbers want_q(size_t(2 * n)), want_t(size_t(2 * n));
  for (size_t i = 0; i < size_t(n); ++i)
    for (size_t j = 0; j < size_t(n); ++j) {
      const double ds =
          numbers(dloss.rows(int64_t(i), int64_t(i) + 1))[0] * (std::exp(s[i * size_t(n) + j] - lse_[i]) - (i == j));
      for (size_t c = 0; c < 2; ++c) want_q[2 * i + c] += ds * t_[2 * j + c], want_t[2 * j + c] += ds * q_[2 * i + c];
    }
  expect_close(dq, want_q, "dq");
  expect_close(dt, want_t, "dt");
}

TEST(KernelsLoss, NaNIsNotLost) {
  Numbers values(20, 1);
  values[3] = std::nan("");
  const Tensor loss = unwritten({1}, DType::f32), lse = tensor({1}, DType::f32, {0});
  const Tensor best({1}, DType::i32, Device::emu);
  emu::infonce(tensor({1, 1}, DType::f32, {1}), tensor({20, 1}, DType::f32, values), integers({0}), {}, 1, loss, lse,
               best);
  EXPECT_TRUE(std::isnan(numbers(lse)[0]));
  emu::infonce(tensor({1, 1}, DType::f32, {1}), tensor({20, 1}, DType::f32, Numbers(20, std::nan(""))), integers({0}),
               {}, 1, loss, lse, best);
  EXPECT_EQ(item(best), 0);  // an index all the same
}

}  // namespace
}  // namespace vlm2vec
