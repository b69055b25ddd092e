// c = op(a)·op(b) (+ bias on every row) (+ c); op is the identity or the transpose. Matrices are row-major: op(a) is
// [m, k], op(b) [k, n]. Sums are f32, also of bf16 factors; f64 if the factors are. The ladder: one thread per output,
// tiles in shared memory, tiles in registers, and what matmul_async.cu and matmul_tensor.cu add. docs/kernels.md
// compares the rungs.
#include "kernels/matmul.h"

#include "kernels/cublas.h"
#include "kernels/kernels.h"

namespace vlm2vec::BACKEND {
namespace {

// Rung 1, the definition: one thread per output. Every product reads both factors from global memory.
template <class T, class A, class B, class C>
__global__ void matmul_naive_kernel(Factor<A> a, Factor<B> b, Result<T, C> c) {
  const int64_t e = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, i = e / c.n, j = e % c.n;
  if (i >= c.m) return;
  T sum = 0;
  for (int64_t l = 0; l < a.k; ++l) sum += T(a(i, l)) * T(b(j, l));
  c.store(i, j, sum);
}

// Rung 2: a block computes a 16 × 16 tile of c, a thread one output, and k passes through shared memory in steps of 16.
// A value read from global memory serves 16 products; one read from shared memory, one.
constexpr int square = 16;

// Reads one number of a tile [l][i]. Neighbouring threads read neighbouring addresses, along k or across; the odd pitch
// puts their writes into different banks.
template <class T, class X>
__device__ void load_square(T (&to)[square][square + 1], const Factor<X>& x, int64_t i0, int64_t l0) {
  const int slow = int(threadIdx.x) / square, fast = int(threadIdx.x) % square;
  const int i = x.along_k ? slow : fast, l = x.along_k ? fast : slow;
  to[l][i] = i0 + i < x.size && l0 + l < x.k ? T(x(i0 + i, l0 + l)) : T(0);
}

template <class T, class A, class B, class C>
__global__ void __launch_bounds__(square* square)
    matmul_shared_kernel(Factor<A> a, Factor<B> b, Result<T, C> c) {
  SHARED(T, a_tile, [square][square + 1]);
  SHARED(T, b_tile, [square][square + 1]);
  const Place at = place_of<square, square>(blockIdx.x, c.m, c.n);
  const int row = int(threadIdx.x) / square, column = int(threadIdx.x) % square;
  T sum = 0;
  for (int64_t l0 = 0; l0 < a.k; l0 += square) {
    load_square(a_tile, a, at.i, l0);
    load_square(b_tile, b, at.j, l0);
    __syncthreads();
    UNROLL for (int l = 0; l < square; ++l) sum += a_tile[l][row] * b_tile[l][column];
    __syncthreads();  // from here on the tiles may be overwritten
  }
  if (at.i + row < c.m && at.j + column < c.n) c.store(at.i + row, at.j + column, sum);
}

// Rung 3: a thread keeps SIDE × SIDE outputs in registers. A value read from global memory, 16 bytes at once, serves
// SIZE products; one read from shared memory, SIDE. The large tile is 128 × 128 with 8 × 8, the small one 32 × 32 with
// 4 × 4.
template <class TILE, class T, class X>
__device__ void load_tile(typename TILE::Shared& to, const Factor<X>& x, int64_t i0, int64_t l0) {
  constexpr int run = Wide<X>::count, width = TILE::size, each = width * TILE::step / run / TILE::threads;
  static_assert(each * run * TILE::threads == width * TILE::step);
  ROLLED for (int number = 0; number < each; ++number) {  // unrolled, addresses take the registers of sums
    const int e = number * TILE::threads + int(threadIdx.x);
    // Along k, two neighbouring threads read from one row; across, a row of the tile is read from end to end.
    const int i = x.along_k ? e / 2 % width : e % (width / run) * run;
    const int l = x.along_k ? (e % 2 + e / (2 * width) * 2) * run : e / (width / run);
    Wide<X> numbers;
    x.read(numbers, i0 + i, l0 + l);
    UNROLL for (int v = 0; v < run; ++v) (x.along_k ? to.x[l + v][i] : to.x[l][i + v]) = T(numbers.x[v]);
  }
}

template <class T, class A, class B, class C, int SIZE, int SIDE>
__global__ void __launch_bounds__(RegisterTile<T, SIZE, SIDE>::threads, 512 / RegisterTile<T, SIZE, SIDE>::threads)
    matmul_registers_kernel(Factor<A> a, Factor<B> b, Result<T, C> c) {
  using TILE = RegisterTile<T, SIZE, SIDE>;
  SHARED(typename TILE::Shared, a_tile, [1]);
  SHARED(typename TILE::Shared, b_tile, [1]);
  const Place at = place_of<SIZE, SIZE>(blockIdx.x, c.m, c.n);
  TILE tile;
  for (int64_t l0 = 0; l0 < a.k; l0 += TILE::step) {
    load_tile<TILE, T>(a_tile[0], a, at.i, l0);
    load_tile<TILE, T>(b_tile[0], b, at.j, l0);
    __syncthreads();
    tile.add(a_tile[0], b_tile[0]);
    __syncthreads();  // from here on the tiles may be overwritten
  }
  tile.store(c, at);
}

// Whether tiles are large: where enough of them keep the multiprocessors busy, and no half of each lies outside c.
bool has_many_large_tiles(const Tensor& c) {
  return tile_count(c.rows(), c.columns(), 128, 128) >= 64 && std::min<int64_t>(c.rows(), c.columns()) > 64;
}

template <class X>
Factor<X> factor_of(const Tensor& x, bool along_k) {
  const bool aligned = uintptr_t(x.raw()) % 16 == 0 && x.columns() * size_of(x.dtype()) % 16 == 0;
  return {at<X>(x), along_k ? x.rows() : x.columns(), along_k ? x.columns() : x.rows(), along_k, aligned};
}

template <class T, class A, class B, class C>
void run_rung(int rung, bool large, const Factor<A>& a, const Factor<B>& b, const Result<T, C>& c) {
  if (rung == 1) {
    launch(blocks(c.m * c.n, 256), 256, 0, matmul_naive_kernel<T, A, B, C>, a, b, c);
  } else if (rung == 2) {
    launch(tile_count(c.m, c.n, square, square), square * square, 0, matmul_shared_kernel<T, A, B, C>, a, b, c);
  } else if (rung == 4) {
    if constexpr (std::is_same_v<A, bf16>) matmul_tensor(a, b, c, large);
    else if constexpr (std::is_same_v<A, B> && std::is_same_v<A, float>) matmul_async(a, b, c, large);
  } else {
    const auto run = [&]<int SIZE, int SIDE>() {
      launch(tile_count(c.m, c.n, SIZE, SIZE), RegisterTile<T, SIZE, SIDE>::threads, 0,
             matmul_registers_kernel<T, A, B, C, SIZE, SIDE>, a, b, c);
    };
    if constexpr (!std::is_same_v<T, double>)  // 64 sums in f64 would be 128 registers
      if (large) return run.template operator()<128, 8>();
    run.template operator()<32, 4>();
  }
}

}  // namespace

// Rungs 1 to 4; the fourth is for factors of one type, f32 or bf16. The test compares them.
void matmul_on_rung(int rung, bool large, const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions o,
                    const Tensor& c) {
  const auto run = [&]<class T, class A, class B, class C>(T, A, B, C) {
    const bool aligned = uintptr_t(c.raw()) % 16 == 0 && c.columns() * size_of(c.dtype()) % 16 == 0;
    run_rung(rung, large, factor_of<A>(a, !o.transpose_a), factor_of<B>(b, o.transpose_b),
             Result<T, C>{at<C>(c), bias ? at<T>(bias) : nullptr, o.accumulate, c.rows(), c.columns(), aligned});
  };
  const float f = 0;
  if (a.dtype() == DType::f64) run(0.0, 0.0, 0.0, 0.0);
  else if (c.dtype() == DType::bf16) run(f, bf16(), bf16(), bf16());
  else if (a.dtype() == DType::bf16) run(f, bf16(), bf16(), f);
  else if (b.dtype() == DType::bf16) run(f, f, bf16(), f);
  else if (b.dtype() == DType::f16) run(f, f, f16(), f);
  else run(f, f, f, f);
}

void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c) {
#if defined(__CUDACC__)
  if (cublas::matmul(a, b, bias, options, c)) return check_launch();
#endif
  const bool alike = a.dtype() == b.dtype() && a.dtype() != DType::f64;
  matmul_on_rung(alike ? 4 : 3, has_many_large_tiles(c), a, b, bias, options, c);
}

}  // namespace vlm2vec::BACKEND
