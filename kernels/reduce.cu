// Sums over a whole tensor and over its rows, in an order that depends on the shape only.
#include "kernels/block.h"
#include "kernels/column_sums.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

template <class T, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(column_block* row_lanes)
    column_sums_kernel(const T* __restrict__ x, A* __restrict__ parts, int64_t rows, int columns) {
  column_sum<N>(rows, columns, parts, [=](int64_t row, int column) { return load<N>(x + row * columns + column); });
}

// partial[block] = Σ x[i]², N at a time, with i in steps of the whole grid; then one block adds the partial sums.
constexpr int threads = 256, most_blocks = 1024;

template <class T, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(threads)
    sum_of_squares_kernel(const T* __restrict__ x, A* __restrict__ partial, int64_t n) {
  A sum = 0;
  for (int64_t i = (int64_t(blockIdx.x) * threads + threadIdx.x) * N; i < n; i += int64_t(gridDim.x) * threads * N) {
    const auto numbers = load<N>(x + i);
    UNROLL for (int j = 0; j < N; ++j) sum += numbers[j] * numbers[j];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
template <class A>
__global__ void sum_kernel(const A* partial, A* total, int n) {
  A sum = 0;
  for (int i = threadIdx.x; i < n; i += threads) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

template <class T, class A = acc_t<T>>
__global__ void mean_kernel(const T* x, T* mean, int64_t n) {
  A sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads) sum += x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *mean = T(sum / A(n));
}

// One block per row.
template <class T>
__global__ void row_squares_kernel(const T* x, double* squares, int columns) {
  x += int64_t(blockIdx.x) * columns;
  double sum = 0;
  for (int c = threadIdx.x; c < columns; c += threads) sum += double(acc_t<T>(x[c])) * double(acc_t<T>(x[c]));
  sum = block_sum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

// ‖w + s·ba‖² = ‖w‖² + Σ_k b[k] (2s (A Wᵀ)[k] + s² (B AAᵀ)[k]) for row o.  One thread per row.
template <class T>
__global__ void dora_norms_kernel(const T* b, const double* squares, const T* aw, const T* baa, double s, T* norms,
                                  T* inverse_norms, int out, int r) {
  const int o = int(blockIdx.x * threads + threadIdx.x);
  if (o >= out) return;
  double square = squares[o];
  for (int k = 0; k < r; ++k)
    square += double(b[o * r + k]) * (2 * s * double(aw[k * out + o]) + s * s * double(baa[o * r + k]));
  const double norm = sqrt(square < 0 ? 0 : square);
  norms[o] = T(norm), inverse_norms[o] = T(1 / norm);
}

}  // namespace

void column_sums(const Tensor& x, const Tensor& sums) {
  dispatch_float(x.dtype(), [&]<class T>() {
    with_width<T>(whole_rows({&x}),
                  [&]<int N>() { add_column_sums<acc_t<T>, N>(sums, x.rows(), column_sums_kernel<T, N>, at<T>(x)); });
  });
}

void sum_of_squares(const Tensor& x, const Tensor& sum) {
  dispatch_float(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    with_width<T>(aligned_16({&x}) && x.numel() % wide<T> == 0, [&]<int N>() {
      const unsigned parts = std::min(unsigned(most_blocks), blocks(x.numel(), threads * N));
      const Tensor partial({parts}, sum.dtype(), sum.device());
      launch(parts, threads, 0, sum_of_squares_kernel<T, N>, at<T>(x), at<A>(partial), x.numel());
      launch(1, threads, 0, sum_kernel<A>, at<A>(partial), at<A>(sum), parts);
    });
  });
}

void mean(const Tensor& x, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() { launch(1, threads, 0, mean_kernel<T>, at<T>(x), at<T>(y), x.numel()); });
}

void row_squares(const Tensor& x, const Tensor& squares) {
  dispatch_stored(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads, 0, row_squares_kernel<T>, at<T>(x), at<double>(squares), x.columns());
  });
}

void dora_norms(const Tensor& b, const Tensor& squares, const Tensor& aw, const Tensor& baa, double scaling,
                const Tensor& norms, const Tensor& inverse_norms) {
  const auto run = [&]<class T>() {
    launch(blocks(b.rows(), threads), threads, 0, dora_norms_kernel<T>, at<T>(b), at<double>(squares), at<T>(aw),
           at<T>(baa), scaling, at<T>(norms), at<T>(inverse_norms), b.rows(), b.columns());
  };
  b.dtype() == DType::f64 ? run.template operator()<double>() : run.template operator()<float>();
}

}  // namespace vlm2vec::BACKEND
