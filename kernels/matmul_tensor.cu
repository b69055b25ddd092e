// The fourth rung for bf16: tensor cores, fed by cp.async in three stages of 32 numbers of k. Sums stay in f32 until
// they are stored. The large tile is 128 × 128 outputs in eight warps of 64 × 32, the small one 64 × 64 in four of
// 32 × 32. A value read from global memory serves 128 or 64 products; one read from shared memory, 32 to 64.
//
// A factor whose rows do not begin at multiples of 16 bytes is copied number by number. Its sums have the same order.
#include "kernels/matmul.h"

namespace vlm2vec::BACKEND {
namespace {

constexpr int depth = 32, stages = 3;

template <int SIZE, int WARP_ROWS, int WARPS>
struct TileShape {
  static constexpr int size = SIZE, warp_rows = WARP_ROWS, warp_columns = 32, threads = 32 * WARPS;
  static constexpr int warps_across = SIZE / warp_columns, blocks = 512 / threads;  // blocks of a multiprocessor
  static_assert(SIZE / WARP_ROWS * warps_across == WARPS);
  static constexpr int staging_pitch = warp_columns + 8, staged = 16 * staging_pitch;  // floats of a warp
};
using Large = TileShape<128, 64, 8>;
using Small = TileShape<64, 32, 4>;

// A side's tile in shared memory, as it lies in global memory: [SIZE][depth] if k lies along the rows, else
// [depth][SIZE]. Either pitch lets the eight rows of a matrix lie in different banks.
template <bool ALONG_K, int SIZE>
struct Side {
  static constexpr int pitch = (ALONG_K ? depth : SIZE) + 8, numbers = (ALONG_K ? SIZE : depth) * pitch;

  // Begins to copy the numbers from (i0, l0) on, zero behind the edge. Along k, rows have four times 16 bytes. Eight
  // threads write to row r and to row r + 4, 320 bytes behind it: so all of them meet different banks.
  template <int THREADS>
  static __device__ void copy(const Tile& to, const Factor<bf16>& x, int i0, int l0) {
    constexpr int per_row = (ALONG_K ? depth : SIZE) / 8, rows = THREADS / per_row, each = SIZE * depth / 8 / THREADS;
    const int t = int(threadIdx.x), row = ALONG_K ? t / 32 * 8 + t / 4 % 2 * 4 + t / 8 % 4 : t / per_row;
    const int column = t % per_row * 8, y = (ALONG_K ? i0 : l0) + row, first = (ALONG_K ? l0 : i0) + column;
    const int height = int(ALONG_K ? x.size : x.k), width = int(ALONG_K ? x.k : x.size);
    const bf16* const from = x.x + (int64_t(y) * width + first);
    if (x.aligned)
      UNROLL for (int step = 0; step < each * rows; step += rows)
        copy_async(to.at(row + step, column), from + step * width, y + step < height && first < width);
    else
      ROLLED for (int e = 0; e < 8 * each; ++e) {
        const int step = e / 8 * rows, v = e % 8;
        *to.at(row + step, column + v) = y + step < height && first + v < width ? from[step * width + v] : bf16{};
      }
  }
  static __device__ void load_a(uint32_t (&a)[4], const Tile& tile, int i, int l) {
    if constexpr (ALONG_K) tile.load_a(a, i, l);
    else tile.load_a_transposed(a, l, i);
  }
  static __device__ void load_b(uint32_t (&b)[4], const Tile& tile, int j, int l) {
    if constexpr (ALONG_K) tile.load_b(b, j, l);
    else tile.load_b_transposed(b, l, j);
  }
};

// sum += a·b over one stage, for a warp's part of the tile.
template <class A, class B, int M, int N>
__device__ void multiply_stage(float (&sum)[M][N][4], const Tile& a, int i, const Tile& b, int j) {
  UNROLL for (int l = 0; l < depth; l += 16) {
    uint32_t right[N / 2][4];
    UNROLL for (int n = 0; n < N / 2; ++n) B::load_b(right[n], b, j + 16 * n, l);
    UNROLL for (int m = 0; m < M; ++m) {
      uint32_t left[4];
      A::load_a(left, a, i + 16 * m, l);
      UNROLL for (int n = 0; n < N / 2; ++n) {
        multiply(sum[m][2 * n], left, right[n][0], right[n][1]);
        multiply(sum[m][2 * n + 1], left, right[n][2], right[n][3]);
      }
    }
  }
}

// Reads W numbers of a row of staged sums, 16 bytes at a time: where there are two times, odd rows begin with the
// second. So eight threads, of two rows, meet different banks.
template <int W>
__device__ void read_staged(float (&to)[W], const float* from, bool second_first) {
  constexpr int half = 4;
  static_assert(W == half || W == 2 * half);
  if constexpr (W == half) {
    const Wide<float> all = load_16_bytes(from);
    UNROLL for (int e = 0; e < half; ++e) to[e] = all.x[e];
  } else {
    const Wide<float> one = load_16_bytes(from + half * second_first);
    const Wide<float> other = load_16_bytes(from + half * !second_first);
    UNROLL for (int e = 0; e < half; ++e) {
      to[e] = second_first ? other.x[e] : one.x[e];
      to[half + e] = second_first ? one.x[e] : other.x[e];
    }
  }
}

// Stores a warp's sums, 16 rows at a time, through its own part of shared memory: there C fragments become rows.
template <class S, class C, int M, int N>
__device__ void store_sums(const float (&sum)[M][N][4], float* staging, const Result<float, C>& c, int64_t i0,
                           int64_t j0) {
  constexpr int run = Wide<C>::count, per_row = S::warp_columns / run;
  const int lane = int(threadIdx.x) % 32;
  UNROLL for (int m = 0; m < M; ++m) {
    __syncwarp();  // all lanes have read the rows before
    UNROLL for (int n = 0; n < N; ++n)
      UNROLL for (int h = 0; h < 2; ++h)
        put_pair(staging + (lane / 4 + 8 * h) * S::staging_pitch + 8 * n + lane % 4 * 2, sum[m][n][2 * h],
                 sum[m][n][2 * h + 1]);
    __syncwarp();
    UNROLL for (int step = 0; step < 16 * per_row / 32; ++step) {
      const int e = 32 * step + lane, row = e / per_row, column = e % per_row * run;
      float sums[run];
      read_staged(sums, staging + (row * S::staging_pitch + column), row % 2);
      c.template store_run<run>(i0 + 16 * m + row, j0 + column, sums);
    }
  }
}

template <class C, bool A_ALONG_K, bool B_ALONG_K, class S>
__global__ void __launch_bounds__(S::threads, S::blocks)
    matmul_tensor_kernel(Factor<bf16> a, Factor<bf16> b, Result<float, C> c) {
  using A = Side<A_ALONG_K, S::size>;
  using B = Side<B_ALONG_K, S::size>;
  bf16* const shared = dynamic_shared<bf16>();
  const auto a_tile = [&](int s) { return Tile{shared + s % stages * (A::numbers + B::numbers), A::pitch}; };
  const auto b_tile = [&](int s) { return Tile{a_tile(s).first + A::numbers, B::pitch}; };
  const Place at = place_of<S::size, S::size>(blockIdx.x, c.m, c.n);
  const int warp = int(threadIdx.x) / 32, i = warp / S::warps_across * S::warp_rows;
  const int j = warp % S::warps_across * S::warp_columns, steps = int((a.k + depth - 1) / depth);
  const auto copy = [&](int s) {
    if (s < steps) {
      A::template copy<S::threads>(a_tile(s), a, int(at.i), s * depth);
      B::template copy<S::threads>(b_tile(s), b, int(at.j), s * depth);
    }
    commit_copies();
  };
  const bool inside = at.i + i < c.m && at.j + j < c.n;
  float sum[S::warp_rows / 16][S::warp_columns / 8][4] = {};
  copy(0);
  copy(1);
  for (int s = 0; s < steps; ++s) {
    wait_for_copies<1>();
    __syncthreads();  // the stage is here for all threads, and nobody reads the one before any more
    copy(s + 2);
    if (inside) multiply_stage<A, B>(sum, a_tile(s), i, b_tile(s), j);
  }
  __syncthreads();  // nobody reads the tiles any more
  if (inside)
    store_sums<S>(sum, reinterpret_cast<float*>(shared) + warp * S::staged, c, at.i + i, at.j + j);
}

template <class S, class C>
void run_tensor(const Factor<bf16>& a, const Factor<bf16>& b, const Result<float, C>& c) {
  const auto run = [&]<bool A_ALONG_K, bool B_ALONG_K>() {
    constexpr size_t numbers = stages * (Side<A_ALONG_K, S::size>::numbers + Side<B_ALONG_K, S::size>::numbers);
    static_assert(numbers * sizeof(bf16) >= S::threads / 32 * S::staged * sizeof(float));
    launch(tile_count(c.m, c.n, S::size, S::size), S::threads, numbers * sizeof(bf16),
           matmul_tensor_kernel<C, A_ALONG_K, B_ALONG_K, S>, a, b, c);
  };
  if (a.along_k && b.along_k) run.template operator()<true, true>();
  else if (a.along_k) run.template operator()<true, false>();
  else if (b.along_k) run.template operator()<false, true>();
  else run.template operator()<false, false>();
}

}  // namespace

void matmul_tensor(const Factor<bf16>& a, const Factor<bf16>& b, const Result<float, float>& c, bool large) {
  large ? run_tensor<Large>(a, b, c) : run_tensor<Small>(a, b, c);
}
void matmul_tensor(const Factor<bf16>& a, const Factor<bf16>& b, const Result<float, bf16>& c, bool large) {
  large ? run_tensor<Large>(a, b, c) : run_tensor<Small>(a, b, c);
}

}  // namespace vlm2vec::BACKEND
