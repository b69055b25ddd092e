// InfoNCE over in-batch targets (van den Oord et al. 2018): query i of B must find target label(i) of N.
//   s_ij = q_i·t_j / τ,   loss_i = lse_i − s_i,label(i),   lse_i = log Σ_j exp(s_ij) over the targets j that count.
// Without groups all targets count; with groups, label(i) and the targets of other groups.
// The B × N scores never exist at once: the forward keeps one running sum per query, the backward a strip of 256 rows.
// f32 goes to tensor cores (infonce_tiles.cu). These kernels define the sums and are the oracle; they compute f64.
#include "kernels/infonce.h"

namespace vlm2vec::BACKEND {
namespace {

// A block is 16 × 16 threads; thread (x, y) has query i0 + y and target j0 + x.
constexpr int side = 16, chunk = 32, strip_rows = 256;

// Computes the thread's score q_i·t_j / τ; shared memory holds 32 columns of the rows at a time.
__device__ double score(const double* q, const double* t, int64_t i0, int64_t j0, int64_t queries, int64_t targets,
                        int64_t d, double inverse_tau) {
  SHARED(double, q_chunk, [side][chunk + 1]);
  SHARED(double, t_chunk, [side][chunk + 1]);
  double dot = 0;
  for (int64_t c0 = 0; c0 < d; c0 += chunk) {
    for (int e = threadIdx.y * side + threadIdx.x; e < side * chunk; e += side * side) {
      const int64_t row = e / chunk, c = c0 + e % chunk;
      q_chunk[row][e % chunk] = i0 + row < queries && c < d ? q[(i0 + row) * d + c] : 0;
      t_chunk[row][e % chunk] = j0 + row < targets && c < d ? t[(j0 + row) * d + c] : 0;
    }
    __syncthreads();
    for (int c = 0; c < chunk; ++c) dot += q_chunk[threadIdx.y][c] * t_chunk[threadIdx.x][c];
    __syncthreads();  // from here on the chunks may be overwritten
  }
  return dot * inverse_tau;
}

// Computes loss, lse and best (the first target of the highest score).  One block per 16 queries, over all targets.
__global__ void infonce_kernel(const double* q, const double* t, int64_t queries, int64_t targets, int64_t d,
                               Matching matching, double inverse_tau, double* loss, double* lse, int32_t* best) {
  SHARED(double, top, [side][side]);
  SHARED(double, sum, [side][side]);
  SHARED(int32_t, first, [side][side]);
  SHARED(double, right, [side]);
  const int x = threadIdx.x, y = threadIdx.y;
  const int64_t i0 = int64_t(blockIdx.x) * side, i = i0 + y;
  Running<double> mine;  // covers targets x, x + 16, …
  for (int64_t j0 = 0; j0 < targets; j0 += side) {
    const double s = score(q, t, i0, j0, queries, targets, d, inverse_tau);
    const int64_t j = j0 + x;
    if (i >= queries || j >= targets) continue;
    if (matching.counts(i, j)) mine.add({s, 1, int32_t(j)});
    if (j == matching.labels[i]) right[y] = s;
  }
  top[y][x] = mine.top, sum[y][x] = mine.sum, first[y][x] = mine.best;
  __syncthreads();
  if (x > 0 || i >= queries) return;
  for (int other = 1; other < side; ++other) mine.add({top[y][other], sum[y][other], first[y][other]});
  mine.finish(i, right[y], targets, loss, lse, best);
}

// ds_ij = dloss_i / τ · (exp(s_ij − lse_i) − [j = label(i)]), or 0 where j does not count for i. The strip has one row
// per query from `first` on.
__global__ void infonce_ds_kernel(const double* dloss, const double* q, const double* t, const double* lse,
                                  int64_t first, int64_t rows, int64_t queries, int64_t targets, int64_t d,
                                  Matching matching, double inverse_tau, double* ds) {
  const int64_t i0 = first + int64_t(blockIdx.x) * side, j0 = int64_t(blockIdx.y) * side;
  const int64_t i = i0 + threadIdx.y, j = j0 + threadIdx.x;
  const double s = score(q, t, i0, j0, queries, targets, d, inverse_tau);
  if (i >= first + rows || j >= targets) return;
  const double p = matching.counts(i, j) ? exp(s - lse[i]) : 0;
  ds[(i - first) * targets + j] = dloss[i] * inverse_tau * (p - double(j == matching.labels[i]));
}

// Returns x rounded to bf16, for scores from plain bf16; x itself if not.
Tensor score_factor(const Tensor& x, bool bf16_scores) {
  if (!bf16_scores) return x;
  const Tensor narrow(x.shape(), DType::bf16, x.device()), rounded(x.shape(), x.dtype(), x.device());
  cast(x, narrow), cast(narrow, rounded);
  return rounded;
}

}  // namespace

void infonce(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
             bool bf16_scores, const Tensor& loss, const Tensor& lse, const Tensor& best) {
  if (q.dtype() == DType::f32)
    return infonce_tiles(q, t, labels, groups, inverse_tau, bf16_scores, loss, lse, best);
  const Tensor left = score_factor(q, bf16_scores), right = score_factor(t, bf16_scores);
  launch(blocks(q.rows(), side), dim3(side, side), 0, infonce_kernel, at<double>(left), at<double>(right), q.rows(),
         t.rows(), q.columns(), matching_of(labels, groups), inverse_tau, at<double>(loss), at<double>(lse),
         at<int32_t>(best));
}

// Computes per strip: dq = ds t,   dt += dsᵀ q
void infonce_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups,
                      const Tensor& lse, double inverse_tau, bool bf16_scores, const Tensor& dq, const Tensor& dt) {
  if (q.dtype() == DType::f32)
    return infonce_tiles_backward(dloss, q, t, labels, groups, lse, inverse_tau, bf16_scores, dq, dt);
  const Tensor left = score_factor(q, bf16_scores), right = score_factor(t, bf16_scores);
  const Tensor strip({std::min<int64_t>(strip_rows, q.rows()), t.rows()}, q.dtype(), q.device());
  for (int64_t first = 0; first < q.rows(); first += strip_rows) {
    const int64_t rows = std::min<int64_t>(strip_rows, q.rows() - first);
    const Tensor ds = strip.rows(0, rows);
    launch(dim3(blocks(rows, side), blocks(t.rows(), side)), dim3(side, side), 0, infonce_ds_kernel, at<double>(dloss),
           at<double>(left), at<double>(right), at<double>(lse), first, rows, q.rows(), t.rows(), q.columns(),
           matching_of(labels, groups), inverse_tau, at<double>(ds));
    matmul(ds, t, Tensor(), {}, dq.rows(first, first + rows));
    matmul(ds, q.rows(first, first + rows), Tensor(), {.transpose_a = true, .accumulate = first > 0}, dt);
  }
}

}  // namespace vlm2vec::BACKEND
