// c = op(a)·op(b) (+ bias on every row) (+ c); op is the identity or the transpose. Matrices are row-major: op(a) is
// [m, k], op(b) [k, n]. Sums are f32, also of bf16 factors; f64 if the factors are. Both levels add the k products of
// an output in order: the bits depend on k alone.
#include "kernels/cublas.h"
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

// Returns element (i, j) of op(x), where x is stored as [rows, columns].
template <class T>
struct Operand {
  const T* x;
  int64_t rows, columns;
  bool transposed;
  __device__ acc_t<T> operator()(int64_t i, int64_t j) const {
    return transposed ? x[j * columns + i] : x[i * columns + j];
  }
};

template <class T, class C>
__device__ void store(C* c, const T* bias, bool accumulate, int64_t i, int64_t j, int64_t n, T sum) {
  if (bias) sum += bias[j];
  c[i * n + j] = C(accumulate ? T(c[i * n + j]) + sum : sum);
}

// Level 1, the definition: one thread per output. Every product reads both factors from global memory.
template <class T, class A, class B, class C>
__global__ void matmul_naive_kernel(Operand<A> a, Operand<B> b, const T* bias, bool accumulate, C* c, int64_t m,
                                    int64_t n, int64_t k) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, i = e / n, j = e % n;
  if (i >= m) return;
  T sum = 0;
  for (int64_t l = 0; l < k; ++l) sum += a(i, l) * b(l, j);
  store(c, bias, accumulate, i, j, n, sum);
}

// Level 2: a block computes a 32×32 tile of c and loads k into shared memory in steps of 16. Each of its 64 threads
// keeps 4×4 outputs in registers. A value read from global memory serves 32 products; one read from shared memory, 4.
constexpr int tile = 32, step = 16, side = 4, lanes = tile / side, threads = lanes * lanes;

// to[l][i] = op(x)(i0 + i, l0 + l), zero beyond the edge. Neighbouring threads read neighbouring addresses, transposed
// or not; the odd pitch puts their writes into different banks.
template <class T, class X>
__device__ void load_tile(T (&to)[step][tile + 1], Operand<X> x, int64_t i0, int64_t l0) {
  for (int e = threadIdx.x; e < tile * step; e += threads) {
    const int i = x.transposed ? e % tile : e / step, l = x.transposed ? e / tile : e % step;
    const bool inside = x.transposed ? l0 + l < x.rows && i0 + i < x.columns : i0 + i < x.rows && l0 + l < x.columns;
    to[l][i] = inside ? x(i0 + i, l0 + l) : T(0);
  }
}

template <class T, class A, class B, class C>
__global__ void matmul_tiled_kernel(Operand<A> a, Operand<B> b, const T* bias, bool accumulate, C* c, int64_t m,
                                    int64_t n, int64_t k) {
  SHARED(T, a_tile, [step][tile + 1]);
  SHARED(T, b_tile, [step][tile + 1]);
  const Operand<B> b_transposed{b.x, b.rows, b.columns, !b.transposed};
  const int64_t i0 = int64_t(blockIdx.x) * tile, j0 = int64_t(blockIdx.y) * tile;
  const int row = threadIdx.x / lanes, column = threadIdx.x % lanes;  // its outputs: (row + 8 r, column + 8 s)
  T sum[side][side] = {};
  for (int64_t l0 = 0; l0 < k; l0 += step) {
    load_tile(a_tile, a, i0, l0);
    load_tile(b_tile, b_transposed, j0, l0);
    __syncthreads();
    for (int l = 0; l < step; ++l)
      for (int r = 0; r < side; ++r)
        for (int s = 0; s < side; ++s) sum[r][s] += a_tile[l][row + r * lanes] * b_tile[l][column + s * lanes];
    __syncthreads();  // from here on the tiles may be overwritten
  }
  for (int r = 0; r < side; ++r)
    for (int s = 0; s < side; ++s) {
      const int64_t i = i0 + row + r * lanes, j = j0 + column + s * lanes;
      if (i < m && j < n) store(c, bias, accumulate, i, j, n, sum[r][s]);
    }
}

// Calls body(op(a), op(b), bias or null, c, m, n, k) for the types of a, b and c.
template <class Body>
void dispatch_matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions o, const Tensor& c,
                     Body body) {
  const auto run = [&]<class T, class A, class B, class C>(T, A, B, C) {
    body(Operand<A>{at<A>(a), a.rows(), a.columns(), o.transpose_a},
         Operand<B>{at<B>(b), b.rows(), b.columns(), o.transpose_b}, bias ? at<T>(bias) : nullptr, at<C>(c),
         c.rows(), c.columns(), o.transpose_a ? a.rows() : a.columns());
  };
  const float f = 0;
  if (a.dtype() == DType::f64) run(0.0, 0.0, 0.0, 0.0);
  else if (c.dtype() == DType::bf16) run(f, bf16(), bf16(), bf16());
  else if (a.dtype() == DType::bf16) run(f, bf16(), bf16(), f);
  else if (b.dtype() == DType::bf16) run(f, f, bf16(), f);
  else if (b.dtype() == DType::f16) run(f, f, f16(), f);
  else run(f, f, f, f);
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c) {
#if defined(__CUDACC__)
  if (cublas::matmul(a, b, bias, options, c)) return check_launch();
#endif
  dispatch_matmul(
      a, b, bias, options, c,
      [&]<class T, class A, class B, class C>(Operand<A> a, Operand<B> b, const T* bias, C* c, int64_t m, int64_t n,
                                              int64_t k) {
        launch(dim3(blocks(m, tile), blocks(n, tile)), threads, 0, matmul_tiled_kernel<T, A, B, C>, a, b, bias,
               options.accumulate, c, m, n, k);
      });
}

// Level 1 with the same signature, for the test that compares the two levels.
void matmul_naive(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c) {
  dispatch_matmul(
      a, b, bias, options, c,
      [&]<class T, class A, class B, class C>(Operand<A> a, Operand<B> b, const T* bias, C* c, int64_t m, int64_t n,
                                              int64_t k) {
        launch(blocks(m * n, 256), 256, 0, matmul_naive_kernel<T, A, B, C>, a, b, bias, options.accumulate, c, m, n, k);
      });
}

}  // namespace vlm2vec::BACKEND
