// Softmax cross-entropy of rows of logits; each row has one target column (i32).  One block per row.
#include "kernels/block.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int threads = 128;

// loss = lse − x[target],   lse = log Σ exp(x) = max + log Σ exp(x − max)
template <class T, class A = acc_t<T>>
__global__ void cross_entropy_kernel(const T* x, const int32_t* targets, A* loss, A* lse, int columns) {
  const int64_t row = blockIdx.x;
  x += row * columns;
  A top = -INFINITY, sum = 0;
  for (int c = threadIdx.x; c < columns; c += threads) top = max(top, A(x[c]));
  top = block_max(top);
  for (int c = threadIdx.x; c < columns; c += threads) sum += exp(A(x[c]) - top);
  sum = block_sum(sum);
  if (threadIdx.x > 0) return;
  lse[row] = top + log(sum);
  loss[row] = lse[row] - A(x[targets[row]]);
}

// dx = dloss · (exp(x − lse) − [column = target])
template <class T, class A = acc_t<T>>
__global__ void cross_entropy_dx_kernel(const A* dloss, const T* x, const int32_t* targets, const A* lse, T* dx,
                                        int columns) {
  const int64_t row = blockIdx.x;
  x += row * columns, dx += row * columns;
  for (int c = threadIdx.x; c < columns; c += threads)
    dx[c] = T(dloss[row] * (exp(A(x[c]) - lse[row]) - A(c == targets[row])));
}

}  // namespace

void cross_entropy(const Tensor& x, const Tensor& targets, const Tensor& loss, const Tensor& lse) {
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads, 0, cross_entropy_kernel<T>, x.data<T>(), targets.data<int32_t>(),
           loss.data<acc_t<T>>(), lse.data<acc_t<T>>(), x.columns());
  });
}
void cross_entropy_dx(const Tensor& dloss, const Tensor& x, const Tensor& targets, const Tensor& lse,
                      const Tensor& dx) {
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads, 0, cross_entropy_dx_kernel<T>, dloss.data<acc_t<T>>(), x.data<T>(),
           targets.data<int32_t>(), lse.data<acc_t<T>>(), dx.data<T>(), x.columns());
  });
}

}  // namespace vlm2vec::BACKEND
