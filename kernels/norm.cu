// RMSNorm, LayerNorm and L2 normalisation of the rows of x, forward and backward.
// Row kernels: one block per row, whose thread t has columns t, t + blockDim.x, … Column kernels (dw): see
// column_sums.h.
#include "kernels/block.h"
#include "kernels/column_sums.h"
#include "kernels/kernels.h"
#include "kernels/row_norm.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

// A warp is enough for the row of a head or of a small model.
unsigned threads_for(int columns) { return columns <= 128 ? 32 : 128; }

// Returns Σ term(column) over the row of this block.
template <class T, class Term>
__device__ T row_sum(int columns, Term term) {
  T sum = 0;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) sum += term(c);
  return block_sum(sum);
}

// y = x · rstd · w,   rstd = 1 / √(mean(x²) + eps)   (Zhang and Sennrich 2019)
template <class T, class A = acc_t<T>>
__global__ void rms_norm_kernel(const T* x, const A* w, A eps, T* y, A* rstd, int columns) {
  const int64_t row = blockIdx.x;
  x += row * columns, y += row * columns;
  const A squares = row_sum<A>(columns, [=](int c) { return A(x[c]) * A(x[c]); });
  const A r = 1 / sqrt(squares / columns + eps);
  if (threadIdx.x == 0) rstd[row] = r;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) y[c] = T(A(x[c]) * r * w[c]);
}

// dx = rstd · (g − x̂ · mean(g · x̂)) + before,   g = dy · w,   x̂ = x · rstd
template <class T, class A = acc_t<T>>
__global__ void rms_norm_dx_kernel(const T* dy, const T* x, const A* w, const A* rstd, const T* before, T* dx,
                                   int columns) {
  const int64_t row = blockIdx.x;
  dy += row * columns, x += row * columns, dx += row * columns, before = before ? before + row * columns : nullptr;
  const A r = rstd[row];
  const A mean = row_sum<A>(columns, [=](int c) { return A(dy[c]) * w[c] * A(x[c]) * r; }) / columns;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    const A d = r * (A(dy[c]) * w[c] - A(x[c]) * r * mean);
    dx[c] = T(before ? d + A(before[c]) : d);
  }
}

// dw += Σ over rows of dy · x̂
template <class T, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(column_block* row_lanes)
    rms_norm_dw_kernel(const T* __restrict__ dy, const T* __restrict__ x, const A* __restrict__ rstd,
                       A* __restrict__ parts, int64_t rows, int columns) {
  column_sum<N>(rows, columns, parts, [=](int64_t row, int column) {
    const int64_t i = row * columns + column;
    const A r = rstd[row];
    return each<A>([r](A d, A v) { return d * v * r; }, load<N>(dy + i), load<N>(x + i));
  });
}

// y = (x − mean) · rstd · w + b,   rstd = 1 / √(mean((x − mean)²) + eps)   (Ba, Kiros and Hinton 2016)
template <class T, class A = acc_t<T>>
__global__ void layer_norm_kernel(const T* x, const A* w, const A* b, A eps, T* y, A* mean, A* rstd, int columns) {
  const int64_t row = blockIdx.x;
  x += row * columns, y += row * columns;
  const A m = row_sum<A>(columns, [=](int c) { return A(x[c]); }) / columns;
  const A squares = row_sum<A>(columns, [=](int c) { return (A(x[c]) - m) * (A(x[c]) - m); });
  const A r = 1 / sqrt(squares / columns + eps);
  if (threadIdx.x == 0) mean[row] = m, rstd[row] = r;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) y[c] = T((A(x[c]) - m) * r * w[c] + b[c]);
}

// dx = rstd · (g − mean(g) − x̂ · mean(g · x̂)) + before,   g = dy · w,   x̂ = (x − mean) · rstd
template <class T, class A = acc_t<T>>
__global__ void layer_norm_dx_kernel(const T* dy, const T* x, const A* w, const A* mean, const A* rstd, const T* before,
                                     T* dx, int columns) {
  const int64_t row = blockIdx.x;
  dy += row * columns, x += row * columns, dx += row * columns, before = before ? before + row * columns : nullptr;
  const A m = mean[row], r = rstd[row];
  const A mean_g = row_sum<A>(columns, [=](int c) { return A(dy[c]) * w[c]; }) / columns;
  const A mean_gx = row_sum<A>(columns, [=](int c) { return A(dy[c]) * w[c] * (A(x[c]) - m) * r; }) / columns;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    const A d = r * (A(dy[c]) * w[c] - mean_g - (A(x[c]) - m) * r * mean_gx);
    dx[c] = T(before ? d + A(before[c]) : d);
  }
}

// dw += Σ over rows of dy · x̂; db is the column sum of dy
template <class T, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(column_block* row_lanes)
    layer_norm_dw_kernel(const T* __restrict__ dy, const T* __restrict__ x, const A* __restrict__ mean,
                         const A* __restrict__ rstd, A* __restrict__ parts, int64_t rows, int columns) {
  column_sum<N>(rows, columns, parts, [=](int64_t row, int column) {
    const int64_t i = row * columns + column;
    const A m = mean[row], r = rstd[row];
    return each<A>([=](A d, A v) { return d * (v - m) * r; }, load<N>(dy + i), load<N>(x + i));
  });
}

// y = x / max(‖x‖, eps)
template <class T, class A = acc_t<T>>
__global__ void l2_normalize_kernel(const T* x, A eps, A* y, A* norm, int columns) {
  const int64_t row = blockIdx.x;
  x += row * columns, y += row * columns;
  const A length = sqrt(row_sum<A>(columns, [=](int c) { return A(x[c]) * A(x[c]); }));
  if (threadIdx.x == 0) norm[row] = length;
  for (int c = threadIdx.x; c < columns; c += blockDim.x) y[c] = A(x[c]) / (length < eps ? eps : length);
}

// dx = (dy − y · (y·dy)) / ‖x‖; below eps the divisor is constant: dx = dy / eps
template <class T, class A = acc_t<T>>
__global__ void l2_normalize_dx_kernel(const A* dy, const A* y, const A* norm, A eps, T* dx, int columns) {
  const int64_t row = blockIdx.x;
  dy += row * columns, y += row * columns, dx += row * columns;
  const A along = row_sum<A>(columns, [=](int c) { return y[c] * dy[c]; });
  const A radial = norm[row] > eps ? along : 0, length = norm[row] < eps ? eps : norm[row];
  for (int c = threadIdx.x; c < columns; c += blockDim.x) dx[c] = T((dy[c] - y[c] * radial) / length);
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& w, double eps, const Tensor& y, const Tensor& rstd) {
  if (fits_row_norm(x, {&w, &y})) return row_rms_norm(x, {}, w, eps, {}, y, rstd);
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads_for(x.columns()), 0, rms_norm_kernel<T>, at<T>(x), at<acc_t<T>>(w), eps,
           at<T>(y), at<acc_t<T>>(rstd), x.columns());
  });
}
void add_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps, const Tensor& sum, const Tensor& y,
                  const Tensor& rstd) {
  if (fits_row_norm(x, {&added, &w, &sum, &y})) return row_rms_norm(x, added, w, eps, sum, y, rstd);
  add(x, added, sum);
  rms_norm(sum, w, eps, y, rstd);
}
void rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before,
                 const Tensor& dx) {
  if (fits_row_norm(x, {&dy, &w, &before, &dx})) return row_rms_norm_dx(dy, x, w, rstd, before, dx);
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads_for(x.columns()), 0, rms_norm_dx_kernel<T>, at<T>(dy), at<T>(x), at<acc_t<T>>(w),
           at<acc_t<T>>(rstd), at_or_null<T>(before), at<T>(dx), x.columns());
  });
}
void rms_norm_dw(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& dw) {
  dispatch_float(x.dtype(), [&]<class T>() {
    with_width<T>(whole_rows({&dy, &x}), [&]<int N>() {
      add_column_sums<acc_t<T>, N>(dw, x.rows(), rms_norm_dw_kernel<T, N>, at<T>(dy), at<T>(x), at<acc_t<T>>(rstd));
    });
  });
}

void layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps, const Tensor& y, const Tensor& mean,
                const Tensor& rstd) {
  if (fits_row_norm(x, {&w, &b, &y})) return row_layer_norm(x, {}, w, b, eps, {}, y, mean, rstd);
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads_for(x.columns()), 0, layer_norm_kernel<T>, at<T>(x), at<acc_t<T>>(w),
           at<acc_t<T>>(b), eps, at<T>(y), at<acc_t<T>>(mean), at<acc_t<T>>(rstd), x.columns());
  });
}
void add_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  if (fits_row_norm(x, {&added, &w, &b, &sum, &y})) return row_layer_norm(x, added, w, b, eps, sum, y, mean, rstd);
  add(x, added, sum);
  layer_norm(sum, w, b, eps, y, mean, rstd);
}
void layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                   const Tensor& before, const Tensor& dx) {
  if (fits_row_norm(x, {&dy, &w, &before, &dx})) return row_layer_norm_dx(dy, x, w, mean, rstd, before, dx);
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads_for(x.columns()), 0, layer_norm_dx_kernel<T>, at<T>(dy), at<T>(x),
           at<acc_t<T>>(w), at<acc_t<T>>(mean), at<acc_t<T>>(rstd), at_or_null<T>(before), at<T>(dx), x.columns());
  });
}
void layer_norm_dw(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dw) {
  dispatch_float(x.dtype(), [&]<class T>() {
    with_width<T>(whole_rows({&dy, &x}), [&]<int N>() {
      add_column_sums<acc_t<T>, N>(dw, x.rows(), layer_norm_dw_kernel<T, N>, at<T>(dy), at<T>(x), at<acc_t<T>>(mean),
                                   at<acc_t<T>>(rstd));
    });
  });
}

void l2_normalize(const Tensor& x, double eps, const Tensor& y, const Tensor& norm) {
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads_for(x.columns()), 0, l2_normalize_kernel<T>, at<T>(x), eps, at<acc_t<T>>(y),
           at<acc_t<T>>(norm), x.columns());
  });
}
void l2_normalize_dx(const Tensor& dy, const Tensor& y, const Tensor& norm, double eps, const Tensor& dx) {
  dispatch_float(dx.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    launch(unsigned(y.rows()), threads_for(y.columns()), 0, l2_normalize_dx_kernel<T>, at<A>(dy), at<A>(y), at<A>(norm),
           eps, at<T>(dx), y.columns());
  });
}

}  // namespace vlm2vec::BACKEND
