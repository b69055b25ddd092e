// The fourth rung for f32: register tiles in two stages. While the block multiplies one, cp.async brings the next, past
// the registers. A copy has four bytes: it needs no alignment, and turns the tile on its way. Values serve as many
// products as on the third rung, but nobody waits for their loads.
#include "kernels/matmul.h"

namespace vlm2vec::BACKEND {
namespace {

// Begins to copy tile[l][i] = x(i0 + i, l0 + l), zero behind the edge. Along k, 8 neighbouring threads read 32 bytes of
// a row and four such groups write 32 different banks; across, a warp reads and writes 32 neighbours.
template <int SIZE, int THREADS, class Shared>
__device__ void copy_tile(Shared& tile, const Factor<float>& x, int i0, int l0) {
  constexpr int step = sizeof(tile.x) / sizeof(tile.x[0]);
  const int t = int(threadIdx.x), size = int(x.size), k = int(x.k);
  if (x.along_k) {
    const int l = l0 + t % 8, i = i0 + t / 8;
    const float* const from = x.x + (int64_t(i) * k + l);
    UNROLL for (int e = 0; e < step; e += 8)
      UNROLL for (int r = 0; r < SIZE; r += THREADS / 8)
        copy_async<4>(&tile.x[e + t % 8][r + t / 8], from + (r * k + e), i + r < size && l + e < k);
  } else {
    const int l = l0 + t / SIZE, i = i0 + t % SIZE;
    const float* const from = x.x + (int64_t(l) * size + i);
    UNROLL for (int e = 0; e < step; e += THREADS / SIZE)
      copy_async<4>(&tile.x[e + t / SIZE][t % SIZE], from + e * size, i < size && l + e < k);
  }
}

template <int SIZE, int SIDE>
__global__ void __launch_bounds__(RegisterTile<float, SIZE, SIDE>::threads,
                                  512 / RegisterTile<float, SIZE, SIDE>::threads)
    matmul_async_kernel(Factor<float> a, Factor<float> b, Result<float, float> c) {
  using TILE = RegisterTile<float, SIZE, SIDE>;
  SHARED(typename TILE::Shared, a_tiles, [2]);
  SHARED(typename TILE::Shared, b_tiles, [2]);
  const Place at = place_of<SIZE, SIZE>(blockIdx.x, c.m, c.n);
  const int steps = int((a.k + TILE::step - 1) / TILE::step);
  const auto copy = [&](int number) {
    if (number >= steps) return;
    copy_tile<SIZE, TILE::threads>(a_tiles[number % 2], a, int(at.i), number * TILE::step);
    copy_tile<SIZE, TILE::threads>(b_tiles[number % 2], b, int(at.j), number * TILE::step);
    commit_copies();
  };
  TILE tile;
  copy(0);
  for (int number = 0; number < steps; ++number) {
    wait_for_copies();
    __syncthreads();  // the stage is here for all threads, and nobody reads the other one any more
    copy(number + 1);
    tile.add(a_tiles[number % 2], b_tiles[number % 2]);
  }
  tile.store(c, at);
}

}  // namespace

void matmul_async(const Factor<float>& a, const Factor<float>& b, const Result<float, float>& c, bool large) {
  const auto run = [&]<int SIZE, int SIDE>() {
    launch(tile_count(c.m, c.n, SIZE, SIZE), RegisterTile<float, SIZE, SIDE>::threads, 0,
           matmul_async_kernel<SIZE, SIDE>, a, b, c);
  };
  if (large) run.template operator()<128, 8>();
  else run.template operator()<32, 4>();
}

}  // namespace vlm2vec::BACKEND
