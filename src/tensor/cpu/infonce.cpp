// InfoNCE (van den Oord et al. 2018) in strips of queries: [strip, N] scores exist at a time, never [B, N].
//   s = q tᵀ / τ,   loss_i = lse_i − s_i,label,   ds = (softmax(s) − onehot)·dloss / τ,   dq = ds·t,   dt = dsᵀ·q
#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "tensor/cpu/f32.h"
#include "tensor/cpu/gemm.h"

namespace vlm2vec::cpu {
namespace {

// f(query, its row of scores / τ) for every query; after each strip, done(first query, rows, strip).
template <class F, class G>
void each_strip(const char* op, const Tensor& q, const Tensor& t, double inverse_tau, F&& f, G&& done) {
  constexpr int64_t strip_rows = 64;
  const int64_t n = t.rows(), d = q.columns();
  const float *pq = f32(op, q), *pt = f32(op, t);
  const Tensor strip({std::min(strip_rows, q.rows()), n}, DType::f32, q.device());
  float* const scores = strip.data<float>();
  for (int64_t first = 0; first < q.rows(); first += strip_rows) {
    const int64_t rows = std::min(strip_rows, q.rows() - first);
    gemm({.m = rows,
          .n = n,
          .k = d,
          .a = pq + first * d,
          .a_stride = d,
          .b = pt,
          .b_stride = d,
          .c = scores,
          .c_stride = n,
          .transpose_b = true});
    parallel_rows(rows, n, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        simd().scale(n, float(inverse_tau), scores + i * n, scores + i * n);
        f(first + i, scores + i * n);
      }
    });
    done(first, rows, scores);
  }
}

}  // namespace

void infonce(const Tensor& q, const Tensor& t, double inverse_tau, const Tensor& loss, const Tensor& lse,
             const Tensor& best) {
  const int64_t n = t.rows(), each = n / q.rows();
  float *const losses = f32("infonce", loss), *const sums = f32("infonce", lse);
  int32_t* const winners = best.data<int32_t>();
  const auto finish = [&](int64_t i, const float* s) {
    const float top = simd().max(n, s);
    const double sum = top + std::log(simd().sum_exp(n, s, top));
    const int64_t winner = std::find(s, s + n, top) - s;
    sums[i] = float(sum);
    losses[i] = float(sum - s[i * each]);
    winners[i] = int32_t(winner < n ? winner : 0);  // NaN equals nothing
  };
  each_strip("infonce", q, t, inverse_tau, finish, [](int64_t, int64_t, const float*) {});
}

void infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& lse, double inverse_tau,
                      const Tensor& dq, const Tensor& dt) {
  const char* op = "infonce_backward";
  const int64_t n = t.rows(), d = q.columns(), each = n / q.rows();
  const float *dl = f32(op, dloss), *sums = f32(op, lse), *pq = f32(op, q), *pt = f32(op, t);
  float *const pdq = f32(op, dq), *const pdt = f32(op, dt);
  const auto differentiate = [&](int64_t i, float* s) {
    simd().exp(n, s, sums[i], s);
    s[i * each] -= 1;
    simd().scale(n, float(dl[i] * inverse_tau), s, s);
  };
  each_strip(op, q, t, inverse_tau, differentiate, [&](int64_t first, int64_t rows, const float* ds) {
    gemm({.m = rows,
          .n = d,
          .k = n,
          .a = ds,
          .a_stride = n,
          .b = pt,
          .b_stride = d,
          .c = pdq + first * d,
          .c_stride = d});
    gemm({.m = n,
          .n = d,
          .k = rows,
          .a = ds,
          .a_stride = n,
          .b = pq + first * d,
          .b_stride = d,
          .c = pdt,
          .c_stride = d,
          .transpose_a = true,
          .accumulate = first > 0});
  });
}

}  // namespace vlm2vec::cpu
