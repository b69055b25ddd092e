// InfoNCE over in-batch targets (van den Oord et al. 2018): query i of B must find target label(i) of N.
//   s_ij = q_i·t_j / τ,   loss_i = lse_i − s_i,label(i),   lse_i = log Σ_j exp(s_ij) over the targets j that count.
// Without groups all targets count; with groups, label(i) and the targets of other groups.
// The B × N scores never exist at once: the forward keeps one running sum per query, the backward a strip of 256 rows.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

// A block is 16 × 16 threads; thread (x, y) has query i0 + y and target j0 + x.
constexpr int side = 16, chunk = 32, strip_rows = 256;

// Computes the thread's score q_i·t_j / τ; shared memory holds 32 columns of the rows at a time.
template <class T>
__device__ T score(const T* q, const T* t, int64_t i0, int64_t j0, int64_t queries, int64_t targets, int64_t d,
                   T inverse_tau) {
  SHARED(T, q_chunk, [side][chunk + 1]);
  SHARED(T, t_chunk, [side][chunk + 1]);
  T dot = 0;
  for (int64_t c0 = 0; c0 < d; c0 += chunk) {
    for (int e = threadIdx.y * side + threadIdx.x; e < side * chunk; e += side * side) {
      const int64_t row = e / chunk, c = c0 + e % chunk;
      q_chunk[row][e % chunk] = i0 + row < queries && c < d ? q[(i0 + row) * d + c] : T(0);
      t_chunk[row][e % chunk] = j0 + row < targets && c < d ? t[(j0 + row) * d + c] : T(0);
    }
    __syncthreads();
    for (int c = 0; c < chunk; ++c) dot += q_chunk[threadIdx.y][c] * t_chunk[threadIdx.x][c];
    __syncthreads();  // from here on the chunks may be overwritten
  }
  return dot * inverse_tau;
}

// The targets of each query.
struct Matching {
  const int32_t *labels, *groups;  // groups may be null
  __device__ bool counts(int64_t i, int64_t j) const {
    return !groups || j == labels[i] || groups[j] != groups[labels[i]];
  }
};

// The running state over a query's scores: the greatest score, its first target, and Σ exp(score − greatest).
template <class T>
struct Running {
  T top = -INFINITY, sum = 0;
  int32_t best = 0x7FFFFFFF;
  __device__ void add(const Running& other) {
    if (other.sum == 0) return;
    const T new_top = max(top, other.top);
    sum = sum * exp(top - new_top) + other.sum * exp(other.top - new_top);
    if (other.top > top || (other.top == top && other.best < best)) best = other.best;
    top = new_top;
  }
};

// Computes loss, lse and best (the first target of the highest score).  One block per 16 queries, over all targets.
template <class T>
__global__ void infonce_kernel(const T* q, const T* t, int64_t queries, int64_t targets, int64_t d, Matching matching,
                               T inverse_tau, T* loss, T* lse, int32_t* best) {
  SHARED(T, top, [side][side]);
  SHARED(T, sum, [side][side]);
  SHARED(int32_t, first, [side][side]);
  SHARED(T, right, [side]);
  const int x = threadIdx.x, y = threadIdx.y;
  const int64_t i0 = int64_t(blockIdx.x) * side, i = i0 + y;
  Running<T> mine;  // covers targets x, x + 16, …
  for (int64_t j0 = 0; j0 < targets; j0 += side) {
    const T s = score(q, t, i0, j0, queries, targets, d, inverse_tau);
    const int64_t j = j0 + x;
    if (i >= queries || j >= targets) continue;
    if (matching.counts(i, j)) mine.add({s, 1, int32_t(j)});
    if (j == matching.labels[i]) right[y] = s;
  }
  top[y][x] = mine.top, sum[y][x] = mine.sum, first[y][x] = mine.best;
  __syncthreads();
  if (x > 0 || i >= queries) return;
  for (int other = 1; other < side; ++other) mine.add({top[y][other], sum[y][other], first[y][other]});
  lse[i] = mine.top + log(mine.sum);
  loss[i] = lse[i] - right[y];
  best[i] = mine.best < targets ? mine.best : 0;  // no target if all scores are NaN
}

// ds_ij = dloss_i / τ · (exp(s_ij − lse_i) − [j = label(i)]), or 0 where j does not count for i. The strip has one row
// per query from `first` on.
template <class T>
__global__ void infonce_ds_kernel(const T* dloss, const T* q, const T* t, const T* lse, int64_t first, int64_t rows,
                                  int64_t queries, int64_t targets, int64_t d, Matching matching, T inverse_tau,
                                  T* ds) {
  const int64_t i0 = first + int64_t(blockIdx.x) * side, j0 = int64_t(blockIdx.y) * side;
  const int64_t i = i0 + threadIdx.y, j = j0 + threadIdx.x;
  const T s = score(q, t, i0, j0, queries, targets, d, inverse_tau);
  if (i >= first + rows || j >= targets) return;
  const T p = matching.counts(i, j) ? exp(s - lse[i]) : T(0);
  ds[(i - first) * targets + j] = dloss[i] * inverse_tau * (p - T(j == matching.labels[i]));
}

Matching matching_of(const Tensor& labels, const Tensor& groups) {
  return {at<int32_t>(labels), groups.defined() ? at<int32_t>(groups) : nullptr};
}

template <class T>
void run_forward(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
                 const Tensor& loss, const Tensor& lse, const Tensor& best) {
  launch(blocks(q.rows(), side), dim3(side, side), 0, infonce_kernel<T>, at<T>(q), at<T>(t), q.rows(), t.rows(),
         q.columns(), matching_of(labels, groups), inverse_tau, at<T>(loss), at<T>(lse), at<int32_t>(best));
}

// Computes per strip: dq = ds t,   dt += dsᵀ q
template <class T>
void run_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups,
                  const Tensor& lse, double inverse_tau, const Tensor& dq, const Tensor& dt) {
  const Tensor strip({std::min<int64_t>(strip_rows, q.rows()), t.rows()}, q.dtype(), q.device());
  for (int64_t first = 0; first < q.rows(); first += strip_rows) {
    const int64_t rows = std::min<int64_t>(strip_rows, q.rows() - first);
    const Tensor ds = strip.rows(0, rows);
    launch(dim3(blocks(rows, side), blocks(t.rows(), side)), dim3(side, side), 0, infonce_ds_kernel<T>, at<T>(dloss),
           at<T>(q), at<T>(t), at<T>(lse), first, rows, q.rows(), t.rows(), q.columns(),
           matching_of(labels, groups), inverse_tau, at<T>(ds));
    matmul(ds, t, Tensor(), {}, dq.rows(first, first + rows));
    matmul(ds, q.rows(first, first + rows), Tensor(), {.transpose_a = true, .accumulate = first > 0}, dt);
  }
}

}  // namespace

void infonce(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
             const Tensor& loss, const Tensor& lse, const Tensor& best) {
  const auto run = q.dtype() == DType::f64 ? run_forward<double> : run_forward<float>;
  run(q, t, labels, groups, inverse_tau, loss, lse, best);
}
void infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups,
                      const Tensor& lse, double inverse_tau, const Tensor& dq, const Tensor& dt) {
  const auto run = q.dtype() == DType::f64 ? run_backward<double> : run_backward<float>;
  run(dloss, q, t, labels, groups, lse, inverse_tau, dq, dt);
}

}  // namespace vlm2vec::BACKEND
