// Rotary position embedding: rotates the first `heads` heads of each row and copies the columns after them.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "kernels/vectors.h"
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

// The same, N numbers of both halves of a head to a thread; behind the heads, N numbers to copy.
template <class T, int N, class A = acc_t<T>>
__global__ void __launch_bounds__(threads)
    wide_rope_kernel(const T* __restrict__ x, const A* __restrict__ cos, const A* __restrict__ sin, int heads,
                     int head_dim, bool inverse, T* __restrict__ y, int columns) {
  const int64_t row = blockIdx.x;
  const int half = head_dim / 2, pairs = heads * half / N, all = pairs + (columns - heads * head_dim) / N;
  x += row * columns, y += row * columns, cos += row * half, sin += row * half;
  for (int task = threadIdx.x; task < all; task += threads) {
    if (task >= pairs) {
      const int c = heads * head_dim + (task - pairs) * N;
      store_16(y + c, load_16(x + c));
      continue;
    }
    const int i = task * N % half, c = task * N / half * head_dim + i;
    const auto a = load<N>(x + c), b = load<N>(x + c + half), cosine = load<N>(cos + i), sine = load<N>(sin + i);
    store(y + c, each<A>([=](A a, A b, A c, A s) { return a * c + b * (inverse ? s : -s); }, a, b, cosine, sine));
    store(y + c + half,
          each<A>([=](A a, A b, A c, A s) { return b * c + a * (inverse ? -s : s); }, a, b, cosine, sine));
  }
}

}  // namespace

void rope(const Tensor& x, const Tensor& cos, const Tensor& sin, int heads, int head_dim, bool inverse,
          const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    const auto with = [&](auto kernel) {
      launch(unsigned(x.rows()), threads, 0, kernel, at<T>(x), at<acc_t<T>>(cos), at<acc_t<T>>(sin), heads, head_dim,
             inverse, at<T>(y), x.columns());
    };
    with_width<T>(whole_rows({&x, &cos, &sin, &y}) && head_dim / 2 % wide<T> == 0, [&]<int N>() {
      if constexpr (N > 1) with(wide_rope_kernel<T, N>);
      else with(rope_kernel<T>);
    });
  });
}

}  // namespace vlm2vec::BACKEND
