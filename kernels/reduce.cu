// Sums over a whole tensor and over its rows, in an order that depends on the shape only.
#include "kernels/block.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

template <class T, class A = acc_t<T>>
__global__ void column_sums_kernel(const T* x, A* parts, int64_t rows, int columns) {
  column_sum(rows, columns, parts, [=](int64_t row, int column) { return A(x[row * columns + column]); });
}

// partial[block] = Σ x[i]², with i in steps of the whole grid; then one block adds the partial sums.
constexpr int threads = 256, most_blocks = 1024;

template <class T, class A = acc_t<T>>
__global__ void sum_of_squares_kernel(const T* x, A* partial, int64_t n) {
  A sum = 0;
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < n; i += int64_t(gridDim.x) * threads)
    sum += A(x[i]) * A(x[i]);
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

}  // namespace

void column_sums(const Tensor& x, const Tensor& sums) {
  dispatch_float(x.dtype(), [&]<class T>() {
    add_column_sums<acc_t<T>>(sums, x.rows(), column_sums_kernel<T>, at<T>(x));
  });
}

void sum_of_squares(const Tensor& x, const Tensor& sum) {
  dispatch_float(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const unsigned parts = std::min(unsigned(most_blocks), blocks(x.numel(), threads));
    const Tensor partial({parts}, sum.dtype(), sum.device());
    launch(parts, threads, 0, sum_of_squares_kernel<T>, at<T>(x), at<A>(partial), x.numel());
    launch(1, threads, 0, sum_kernel<A>, at<A>(partial), at<A>(sum), parts);
  });
}

void mean(const Tensor& x, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() { launch(1, threads, 0, mean_kernel<T>, at<T>(x), at<T>(y), x.numel()); });
}

}  // namespace vlm2vec::BACKEND
