// infonce.cu: forward against plain loops in double, backward against differences. infonce_tiles.cu: against plain loops
// in double, which is what infonce.cu computes.
#include <numeric>

#include "kernels/gpu.h"
#include "kernels_testing.h"
#include "tensor/card_memory.h"
#include "tensor/infonce_memory.h"

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
          emu::infonce(q, t, integers(labels), {}, inverse_tau, false, loss, lse, best);
          expect_close(numbers(loss), forward(numbers(q), numbers(t)), 10 * tolerance(dtype), "loss");
          const Numbers s = scores(numbers(q), numbers(t), size_t(k.d), inverse_tau);
          for (int64_t i = 0; i < k.queries; ++i) {
            const auto row = s.begin() + i * k.targets;
            EXPECT_EQ(to_vector<int32_t>(best)[size_t(i)], std::max_element(row, row + k.targets) - row);
          }
          const Tensor dq = unwritten_like(q), dt = unwritten_like(t);
          emu::infonce_backward(dloss, q, t, integers(labels), {}, lse, inverse_tau, false, dq, dt);
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
    emu::infonce(q, t, integers({0}), {}, 1, false, loss, lse, best);
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
  emu::infonce(q, t, integers(own), {}, 1, false, loss, lse, best);
  emu::infonce_backward(dloss, q, t, integers(own), {}, lse, 1, false, dq, dt);
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

struct Problem {
  int64_t queries, targets, d;
  double inverse_tau;
  std::vector<int32_t> labels, groups = {};
  bool counts(int64_t i, int64_t j) const {
    const auto own = labels[size_t(i)];
    return groups.empty() || j == own || groups[size_t(j)] != groups[size_t(own)];
  }
};
struct Solution {
  Numbers loss, dq, dt;
};

// Loops in double.
Solution solution(const Problem& p, const Numbers& q, const Numbers& t, const Numbers& dloss) {
  Solution r{{}, Numbers(q.size()), Numbers(t.size())};
  const size_t d = size_t(p.d);
  for (size_t i = 0; i < size_t(p.queries); ++i) {
    Numbers s;
    double sum = 0;
    for (size_t j = 0; j < size_t(p.targets); ++j) {
      s.push_back(p.inverse_tau * std::inner_product(&q[i * d], &q[i * d] + d, &t[j * d], 0.0));
      if (p.counts(int64_t(i), int64_t(j))) sum += std::exp(s[j]);
    }
    const size_t own = size_t(p.labels[i]);
    r.loss.push_back(std::log(sum) - s[own]);
    for (size_t j = 0; j < s.size(); ++j) {
      const double weight = p.counts(int64_t(i), int64_t(j)) ? std::exp(s[j]) / sum : 0;
      const double ds = dloss[i] * p.inverse_tau * (weight - (j == own));
      for (size_t c = 0; c < d; ++c) r.dq[i * d + c] += ds * t[j * d + c], r.dt[j * d + c] += ds * q[i * d + c];
    }
  }
  return r;
}

// Relative L2 errors of loss, dq and dt.
struct Errors {
  double loss, dq, dt;
  double most() const { return std::max({loss, dq, dt}); }
};
double relative_error(const Tensor& got, const Numbers& want) {
  double error = 0, size = 0;
  const Numbers x = numbers(got);
  for (size_t i = 0; i < x.size(); ++i) error += (x[i] - want[i]) * (x[i] - want[i]), size += want[i] * want[i];
  return std::sqrt(error / size);
}
Errors errors(const Problem& p, const Tensor& q, const Tensor& t, bool bf16_scores = false) {
  const Tensor dloss = random({p.queries}, DType::f32, 3), loss = unwritten({p.queries}, DType::f32),
               lse = unwritten_like(loss), dq = unwritten_like(q), dt = unwritten_like(t);
  const Tensor best({p.queries}, DType::i32, Device::emu), labels = integers(p.labels),
               groups = p.groups.empty() ? Tensor() : integers(p.groups);
  emu::infonce(q, t, labels, groups, p.inverse_tau, bf16_scores, loss, lse, best);
  emu::infonce_backward(dloss, q, t, labels, groups, lse, p.inverse_tau, bf16_scores, dq, dt);
  const Solution want = solution(p, numbers(q), numbers(t), numbers(dloss));
  return {relative_error(loss, want.loss), relative_error(dq, want.dq), relative_error(dt, want.dt)};
}
// The labels that a batch without labels has; groups of about four targets.
Problem problem(int64_t queries, int64_t targets, int64_t d, double inverse_tau, bool grouped) {
  Problem p{queries, targets, d, inverse_tau, {}};
  for (int64_t i = 0; i < queries; ++i) p.labels.push_back(int32_t(i * 7 % targets));
  for (int64_t j = 0; grouped && j < targets; ++j) p.groups.push_back(int32_t(j * 5 % (targets / 4 + 1)));
  return p;
}

TEST(KernelsInfoNceTiles, JoinChunksTilesStripesAndPanels) {
  const auto expect_right = [](int64_t queries, int64_t targets, int64_t d, bool grouped) {
    const Problem p = problem(queries, targets, d, 0.7, grouped);
    const Errors e = errors(p, random({queries, d}, DType::f32, 1), random({targets, d}, DType::f32, 2));
    EXPECT_LT(e.most(), 2e-6) << queries << ", " << targets << ", " << d << ": " << e.loss << " " << e.dq << " " << e.dt;
  };
  in_every_schedule([&] {
    expect_right(5, 131, 70, true);    // three chunks, two tiles of targets, the last ones of three numbers
    expect_right(130, 66, 33, false);  // two tiles of queries
  });
  expect_right(40, 640, 96, true);  // two stripes
  expect_right(3, 2100, 8, true);   // two panels side by side
  expect_right(2100, 3, 8, false);  // two panels one below the other
}

// At VLM2Vec's temperature, with vectors of the length and likeness that a trained model gives.
TEST(KernelsInfoNceTiles, HaveFiveDigitsAtAWideEmbedding) {
  const int64_t queries = 128, targets = 256, d = 1536;
  Random draw(5);
  Numbers common, t, q;
  for (int64_t c = 0; c < d; ++c) common.push_back(0.7 * draw.normal());
  const auto normalised = [&](Numbers x) {
    const double length = std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
    for (double& v : x) v /= length;
    return x;
  };
  for (int64_t j = 0; j < targets; ++j) {
    Numbers own, near;
    for (int64_t c = 0; c < d; ++c) {
      own.push_back(draw.normal());
      near.push_back(0.25 * own.back() + draw.normal() + common[size_t(c)]);
      own.back() += common[size_t(c)];
    }
    own = normalised(own), near = normalised(near);
    t.insert(t.end(), own.begin(), own.end());
    if (j % 2 == 0) q.insert(q.end(), near.begin(), near.end());
  }
  Problem p{queries, targets, d, 1 / 0.02, {}};
  for (int64_t i = 0; i < queries; ++i) p.labels.push_back(int32_t(2 * i));
  const Tensor q32 = tensor({queries, d}, DType::f32, q), t32 = tensor({targets, d}, DType::f32, t);
  const uint64_t before = emulator::matrix_products;
  const Errors exact = errors(p, q32, t32), plain = errors(p, q32, t32, true);
  EXPECT_LT(exact.most(), 1e-5) << exact.loss << " " << exact.dq << " " << exact.dt;
  EXPECT_LT(plain.most(), 6e-3) << plain.loss << " " << plain.dq << " " << plain.dt;
  EXPECT_GT(plain.most(), 1e-3);
  // Forward and backward: two tiles of 8 × 16 fragments, 96 steps of 16 columns, six products and one.
  EXPECT_EQ(emulator::matrix_products - before, 2u * 2 * (8 * 16) * 96 * (6 + 1));
}

TEST(KernelsInfoNceTiles, TakeTheMemoryThatThePlanSays) {
  const int64_t queries = 40, targets = 640, d = 70;
  const Problem p = problem(queries, targets, d, 1, false);
  const Tensor q = random({queries, d}, DType::f32, 1), t = random({targets, d}, DType::f32, 2), dq = unwritten_like(q),
               dt = unwritten_like(t), loss = unwritten({queries}, DType::f32), lse = unwritten_like(loss);
  const Tensor best({queries}, DType::i32, Device::emu), labels = integers(p.labels);
  const auto taken = [](const std::function<void()>& run) {
    reset_peak_bytes();
    const int64_t before = peak_bytes().device;
    run();
    return peak_bytes().device - before;
  };
  for (const bool bf16_scores : {false, true}) {
    const InfoNceMemory memory = infonce_memory(queries, targets, d, bf16_scores, false);
    EXPECT_EQ(taken([&] { emu::infonce(q, t, labels, {}, 1, bf16_scores, loss, lse, best); }),
              memory.copies + memory.states);
    EXPECT_EQ(taken([&] { emu::infonce_backward(loss, q, t, labels, {}, lse, 1, bf16_scores, dq, dt); }),
              memory.copies + memory.scores);
  }
  // A batch of 65,536: at most 64 MiB beside embeddings, their copies and their gradients.
  const InfoNceMemory large = infonce_memory(65536, 65536, 1536, false, false);
  EXPECT_LE(std::max(large.states, large.scores) + gpu::kWorkspaceBytes, 64 << 20);
}

TEST(KernelsLoss, NaNIsNotLost) {
  Numbers values(20, 1);
  values[3] = std::nan("");
  const Tensor loss = unwritten({1}, DType::f32), lse = tensor({1}, DType::f32, {0});
  const Tensor best({1}, DType::i32, Device::emu);
  emu::infonce(tensor({1, 1}, DType::f32, {1}), tensor({20, 1}, DType::f32, values), integers({0}), {}, 1, false,
               loss, lse, best);
  EXPECT_TRUE(std::isnan(numbers(lse)[0]));
  emu::infonce(tensor({1, 1}, DType::f32, {1}), tensor({20, 1}, DType::f32, Numbers(20, std::nan(""))), integers({0}),
               {}, 1, false, loss, lse, best);
  EXPECT_EQ(item(best), 0);  // an index all the same
}

}  // namespace
}  // namespace vlm2vec
