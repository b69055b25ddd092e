// What the rungs of the ladder share: matmul.cu has the first three, matmul_async.cu and matmul_tensor.cu the fourth,
// for f32 and for bf16. All compute
//
//   c[i, j] = Σ_l a(i, l)·b(j, l) (+ bias[j]) (+ c[i, j])
//
// with l in ascending order, in steps that depend on nothing but the types: the bits of an output depend on k alone.
// Sizes and addresses choose tiles and the width of loads, which do not change a sum.
#pragma once
#include "kernels/tensor_core.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {

// One side of the product. Its rows i are the rows of op(a) or the columns of op(b); k lies along the rows that are
// stored, or across them.
template <class X>
struct Factor {
  const X* x;
  int64_t size, k;
  bool along_k;
  bool aligned;  // 16 bytes from a multiple of 16 on are in one row, and at an address that is one
  __device__ X operator()(int64_t i, int64_t l) const { return along_k ? x[i * k + l] : x[l * size + i]; }

  // Reads `run`, numbers side by side in memory, from (i, l) on; zeros behind the edge.
  __device__ void read(Wide<X>& run, int64_t i, int64_t l) const {
    if (i >= size || l >= k) {
      UNROLL for (int e = 0; e < Wide<X>::count; ++e) run.x[e] = X{};
    } else if (aligned) {
      run = load_16_bytes(along_k ? x + (i * k + l) : x + (l * size + i));
    } else {
      UNROLL for (int e = 0; e < Wide<X>::count; ++e) {
        const int64_t ie = along_k ? i : i + e, le = along_k ? l + e : l;
        run.x[e] = ie < size && le < k ? (*this)(ie, le) : X{};
      }
    }
  }
};

template <class T, class C>
struct Result {
  C* c;
  const T* bias;
  bool accumulate;
  int64_t m, n;
  bool aligned;  // as of a factor

  __device__ void store(int64_t i, int64_t j, T sum) const {
    if (bias) sum += bias[j];
    c[i * n + j] = C(accumulate ? T(c[i * n + j]) + sum : sum);
  }
  // Stores W sums of a row, those inside; 16 bytes at once where they can be.
  template <int W>
  __device__ void store_run(int64_t i, int64_t j, const T* sums) const {
    if (i >= m || j >= n) return;
    if constexpr (W == Wide<C>::count) {
      if (aligned) {
        C* const to = c + (i * n + j);
        Wide<C> run;
        if (accumulate) run = load_16_bytes(to);
        UNROLL for (int e = 0; e < W; ++e) {
          const T sum = bias ? sums[e] + bias[j + e] : sums[e];
          run.x[e] = C(accumulate ? T(run.x[e]) + sum : sum);
        }
        return store_16_bytes(to, run);
      }
    }
    UNROLL for (int e = 0; e < W; ++e)
      if (j + e < n) store(i, j + e, sums[e]);
  }
};

// The first row and column of a block's tile. Blocks fill bands of 16 rows of tiles, one column of the band after
// another. So those that run at the same time share rows of both factors.
struct Place {
  int64_t i, j;
};
template <int ROWS, int COLUMNS>
__device__ Place place_of(unsigned block, int64_t m, int64_t n) {
  constexpr unsigned band = 16;
  const unsigned down = unsigned((m + ROWS - 1) / ROWS), across = unsigned((n + COLUMNS - 1) / COLUMNS);
  const unsigned first = block / (band * across) * band, height = min(band, down - first);
  const unsigned within = block - first * across;
  return {int64_t(first + within % height) * ROWS, int64_t(within / height) * COLUMNS};
}

// A tile of c in the registers of a block, SIDE × SIDE numbers in each thread. A thread's rows are runs of 16 bytes, a
// run each `apart` rows, and so are its columns; a warp's threads are 4 × 8.
template <class T, int SIZE, int SIDE>
struct RegisterTile {
  static constexpr int size = SIZE;
  static constexpr int step = 16;  // of k, in shared memory
  static constexpr int run = Wide<T>::count, lanes = SIZE / SIDE, threads = lanes * lanes, apart = run * lanes;
  // [l][i]. The pitch lets threads that write along l use different banks.
  struct alignas(16) Shared {
    T x[step][SIZE + run];
  };
  T sum[SIDE][SIDE] = {};

  static __device__ int row() { return run * (int(threadIdx.x) / 32 / (lanes / 8) * 4 + int(threadIdx.x) % 32 / 8); }
  static __device__ int column() { return run * (int(threadIdx.x) / 32 % (lanes / 8) * 8 + int(threadIdx.x) % 8); }

  static __device__ void read(T (&to)[SIDE], const T* from) {
    UNROLL for (int r = 0; r < SIDE; r += run) {
      const Wide<T> numbers = load_16_bytes(from + r / run * apart);
      UNROLL for (int e = 0; e < run; ++e) to[r + e] = numbers.x[e];
    }
  }
  __device__ void add(const Shared& a, const Shared& b) {
    UNROLL for (int l = 0; l < step; ++l) {
      T left[SIDE], right[SIDE];
      read(left, a.x[l] + row());
      read(right, b.x[l] + column());
      UNROLL for (int r = 0; r < SIDE; ++r)
        UNROLL for (int s = 0; s < SIDE; ++s) sum[r][s] += left[r] * right[s];
    }
  }
  template <class C>
  __device__ void store(const Result<T, C>& c, const Place& at) const {
    UNROLL for (int r = 0; r < SIDE; ++r)
      UNROLL for (int s = 0; s < SIDE; s += run)
        c.template store_run<run>(at.i + row() + r / run * apart + r % run, at.j + column() + s / run * apart,
                                  sum[r] + s);
  }
};

// Blocks of a launch with tiles of this size.
inline unsigned tile_count(int64_t m, int64_t n, int rows, int columns) { return blocks(m, rows) * blocks(n, columns); }

// The fourth rung; `large` chooses the tile.
void matmul_async(const Factor<float>& a, const Factor<float>& b, const Result<float, float>& c, bool large);
void matmul_tensor(const Factor<bf16>& a, const Factor<bf16>& b, const Result<float, float>& c, bool large);
void matmul_tensor(const Factor<bf16>& a, const Factor<bf16>& b, const Result<float, bf16>& c, bool large);

}  // namespace vlm2vec::BACKEND
