// InfoNCE (van den Oord et al. 2018) in strips of queries: only [strip, N] scores exist at a time, never [B, N].
//   s = q tᵀ / τ,   loss_i = lse_i − s_i,label(i),   ds = (softmax(s) − onehot)·dloss / τ,   dq = ds·t,   dt = dsᵀ·q
// A target that does not count for a query (kernels.h) has the score −∞.
#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/infonce_memory.h"

namespace vlm2vec::cpu {
namespace {

// Sets query i's scores of targets that do not count to −∞.
void leave_out(const Tensor& labels, const Tensor& groups, int64_t i, float* s) {
  if (!groups.defined()) return;
  const int32_t *group = groups.data<int32_t>(), label = labels.data<int32_t>()[i];
  for (int64_t j = 0; j < groups.numel(); ++j)
    if (group[j] == group[label] && j != label) s[j] = -INFINITY;
}

Tensor rounded(const Tensor& x) {
  const Tensor y(x.shape(), DType::bf16, x.device());
  cast(x, y);
  return y;
}

// Runs f(query, its scores) for every query, and done(queries, first query's number, scores) after each strip.
template <class F, class G>
void each_strip(const Tensor& q, const Tensor& t, double inverse_tau, bool bf16_scores, F&& f, G&& done) {
  constexpr int64_t strip_rows = infonce_sizes::cpu_strip;
  const int64_t n = t.rows();
  const Tensor targets = bf16_scores ? rounded(t) : t;
  const Tensor strip({std::min(strip_rows, q.rows()), n}, DType::f32, q.device());
  for (int64_t first = 0; first < q.rows(); first += strip_rows) {
    const Tensor queries = q.rows(first, std::min(first + strip_rows, q.rows())),
                 scores = strip.rows(0, queries.rows());
    matmul(bf16_scores ? rounded(queries) : queries, targets, {}, {.transpose_b = true}, scores);
    parallel_rows(queries.rows(), n, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* const s = scores.data<float>() + i * n;
        simd().scale(n, float(inverse_tau), s, s);
        f(first + i, s);
      }
    });
    done(queries, first, scores);
  }
}

}  // namespace

void infonce(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
             bool bf16_scores, const Tensor& loss, const Tensor& lse, const Tensor& best) {
  const int64_t n = t.rows();
  float *const losses = f32("infonce", loss), *const sums = f32("infonce", lse);
  int32_t* const winners = best.data<int32_t>();
  const auto finish = [&](int64_t i, float* s) {
    leave_out(labels, groups, i, s);
    const float top = simd().max(n, s);
    const double sum = top + std::log(simd().sum_exp(n, s, top));
    const int64_t winner = std::find(s, s + n, top) - s;
    sums[i] = float(sum);
    losses[i] = float(sum - s[labels.data<int32_t>()[i]]);
    winners[i] = int32_t(winner < n ? winner : 0);  // NaN equals no score
  };
  each_strip(q, t, inverse_tau, bf16_scores, finish, [](const Tensor&, int64_t, const Tensor&) {});
}

void infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups,
                      const Tensor& lse, double inverse_tau, bool bf16_scores, const Tensor& dq, const Tensor& dt) {
  const int64_t n = t.rows();
  const float *dl = f32("infonce_backward", dloss), *sums = f32("infonce_backward", lse);
  const auto differentiate = [&](int64_t i, float* s) {
    leave_out(labels, groups, i, s);
    simd().exp(n, s, sums[i], s);
    s[labels.data<int32_t>()[i]] -= 1;
    simd().scale(n, float(dl[i] * inverse_tau), s, s);
  };
  const auto multiply = [&](const Tensor& queries, int64_t first, const Tensor& ds) {
    matmul(ds, t, {}, {}, dq.rows(first, first + queries.rows()));
    matmul(ds, queries, {}, {.transpose_a = true, .accumulate = first > 0}, dt);
  };
  each_strip(q, t, inverse_tau, bf16_scores, differentiate, multiply);
}

}  // namespace vlm2vec::cpu
