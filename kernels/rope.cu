// Rotary position embedding: rotates the first `heads` heads of each row and copies the columns after them.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int threads = 128;

// With h = head_dim / 2 and the angles θ of this row, for i < h (Su et al. 2021, eq. 34, pairs as in GPT-NeoX):
//   y[i] = x[i] cos θᵢ − x[i+h] sin θᵢ,   y[i+h] = x[i+h] cos θᵢ + x[i] sin θᵢ
// A rotation's transpose is its inverse: the backward uses −θ.  One block per row.
template <class T, class A = acc_t<T>>
__global__ void rope_kernel(const T* x, const A* cos, const A* sin, int heads, int head_dim, bool inverse, T* y,
                            int columns) {
  const int64_t row = blockIdx.x;
  const int half = head_dim / 2;
  x += row * columns, y += row * columns, cos += row * half, sin += row * half;
  for (int c = threadIdx.x; c < columns; c += threads) {
    if (c >= heads * head_dim) {
      y[c] = x[c];
      continue;
    }
    const int i = c % half;
    const bool first = c % head_dim < half;
    const A s = first == inverse ? sin[i] : -sin[i];  // sign of the partner
    y[c] = T(A(x[c]) * cos[i] + A(x[first ? c + half : c - half]) * s);
  }
}

}  // namespace

void rope(const Tensor& x, const Tensor& cos, const Tensor& sin, int heads, int head_dim, bool inverse,
          const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    launch(unsigned(x.rows()), threads, 0, rope_kernel<T>, at<T>(x), at<acc_t<T>>(cos), at<acc_t<T>>(sin),
           heads, head_dim, inverse, at<T>(y), x.columns());
  });
}

}  // namespace vlm2vec::BACKEND
