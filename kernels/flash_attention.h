// Shared by the attention kernels on tensor cores (Dao 2023: FlashAttention-2). A block is four warps; a warp computes
// 16 rows of queries, or of keys in the backward. Tiles of the other side go past in two stages: while the warps work
// on one, cp.async brings the next. Scores and their gradients never leave registers.
//
// D is the width of a tile: the head size rounded up to a size that kernels are compiled for. Columns behind the head
// are zeros. Wide tiles have half the rows, so that they fit into shared memory and sums into registers.
#pragma once
#include <algorithm>
#include <initializer_list>

#include "kernels/attention_tile.h"
#include "kernels/tensor_core.h"

namespace vlm2vec::BACKEND {

constexpr int flash_warps = 4, flash_threads = 32 * flash_warps, flash_rows = 16 * flash_warps;
constexpr float log2_e = 1.44269504088896341f, ln_2 = 0.693147180559945309f;

// Rows of a tile that goes past: as many as leave registers for the sums.
template <int D>
constexpr int streamed_rows = D > 128 ? 32 : 64;
template <int D>
constexpr int streamed_queries = D > 96 ? 32 : 64;  // past a block of keys, which has two sums
template <int D>
constexpr int key_halves = D > 128 ? 2 : 1;  // of the columns that a block of keys sums
template <int D>
constexpr int flash_pitch = D + 8;
// Blocks of the forward that share a multiprocessor; a limit on their registers.
template <int D>
constexpr int forward_blocks = D <= 80 ? 3 : 2;

// Two tiles that take turns.
template <int D, int ROWS>
struct Stages {
  bf16* first;
  __device__ Tile operator[](int number) const {
    return {first + number % 2 * (ROWS * flash_pitch<D>), flash_pitch<D>};
  }
};

// Where things lie in shared memory, one after another.
struct SharedLayout {
  unsigned char* next;
  template <class T>
  __device__ T* take(int count) {
    T* const first = reinterpret_cast<T*>(next);
    next += sizeof(T) * size_t(count);
    return first;
  }
  template <int D>
  __device__ Tile tile(int rows) {
    return {take<bf16>(rows * flash_pitch<D>), flash_pitch<D>};
  }
  template <int D, int ROWS>
  __device__ Stages<D, ROWS> stages() {
    return {take<bf16>(2 * ROWS * flash_pitch<D>)};
  }
};
template <int D>
constexpr size_t tile_bytes(int rows) {
  return sizeof(bf16) * size_t(rows * flash_pitch<D>);
}

// Which 16 bytes of a tile each of THREADS threads takes in a step: they go through ROWS rows of UNITS · 16 bytes, with
// an odd number of 16 bytes from row to row. Eight threads meet different banks: they take eight neighbours of a row
// and, where only `rest` are left, those of 8 / rest rows that are `rest` apart.
template <int ROWS, int UNITS, int THREADS>
struct Walk {
  static constexpr int rest = UNITS % 8, whole = UNITS - rest, steps = ROWS * UNITS / THREADS;
  static constexpr int some = rest ? rest : 1, most = whole ? whole : 1;  // divisors
  static_assert(ROWS * whole % THREADS == 0 && ROWS * rest % THREADS == 0 && 8 % some == 0);
  int row, column;  // of the first of 8 numbers
  __device__ Walk(int step, int thread) {
    if (step < ROWS * whole / THREADS) {
      const int i = step * THREADS + thread;
      row = i / most, column = i % most * 8;
    } else {
      const int i = step * THREADS + thread - ROWS * whole;
      row = i / (8 * some) * 8 + i / 8 % some + i % 8 / some * some, column = (whole + i % some) * 8;
    }
  }
};

// Begins to copy ROWS of the `count` rows of a sequence that starts at row `first`: those from `begin` on. Rows behind
// the last one and columns behind the head are zeros.
template <int D, int ROWS>
__device__ void copy_rows(const Tile& tile, const Heads<const bf16>& x, int head, int first, int count, int begin) {
  using Piece = Walk<ROWS, D / 8, flash_threads>;
  const bf16* const from = x(first + begin, head);
  const int pitch = int(x.pitch), rows = count - begin;
  UNROLL for (int step = 0; step < Piece::steps; ++step) {
    const Piece at(step, int(threadIdx.x));
    const bool valid = at.row < rows && at.column < x.head_dim;
    copy_async(tile.at(at.row, at.column), from + (at.row * pitch + at.column), valid);  // reads only what is valid
  }
}

// A sequence and what its queries see of it, in 32-bit numbers: registers are scarce.
struct Sight {
  int q_begin, k_begin, queries, keys, more_keys, window;
  bool causal;
  __device__ explicit Sight(const Sequence& s)
      : q_begin(int(s.q_begin)), k_begin(int(s.k_begin)), queries(int(s.queries)), keys(int(s.keys)),
        more_keys(int(s.keys - s.queries)), window(s.window), causal(s.causal) {}
  __device__ int first(int query) const { return window > 0 ? max(0, query + 1 + more_keys - window) : 0; }
  __device__ int end(int query) const { return causal ? max(0, min(keys, query + 1 + more_keys)) : keys; }
  // The queries that see a key from `key` on, and before `end_key`.
  __device__ int first_query(int key) const { return causal ? max(0, key - more_keys) : 0; }
  __device__ int end_query(int end_key) const {
    return window > 0 ? min(queries, end_key - 1 + window - more_keys) : queries;
  }
  // Whether each of `rows` queries from `query` on sees each of `count` keys from `key` on.
  __device__ bool all_seen(int query, int rows, int key, int count) const {
    return query + rows <= queries && key >= first(query + rows - 1) && key + count <= end(query);
  }
};

// The keys and values that a block of queries from query0 on sees: they go past by tiles, in two stages.
template <int D>
struct PassingKeys {
  static constexpr int rows = streamed_rows<D>;
  Heads<const bf16> k, v;
  int head, k_begin, count, first, end;  // tiles from `first` on
  Stages<D, rows> keys, values;
  __device__ PassingKeys(SharedLayout& shared, const Heads<const bf16>& k, const Heads<const bf16>& v, int head,
                         const Sight& sight, int query0)
      : k(k), v(v), head(head), k_begin(sight.k_begin), count(sight.keys), first(sight.first(query0) / rows),
        end((sight.end(min(query0 + flash_rows, sight.queries) - 1) + rows - 1) / rows),
        keys(shared.stages<D, rows>()), values(shared.stages<D, rows>()) {}
  // Begins to copy a tile, if there is one of this number.
  __device__ void copy(int tile) const {
    if (tile >= end) return;
    copy_rows<D, rows>(keys[tile], k, head, k_begin, count, tile * rows);
    copy_rows<D, rows>(values[tile], v, head, k_begin, count, tile * rows);
  }
  // Waits for a tile that is under way, and begins to copy the next. False behind the last one.
  __device__ bool comes(int tile) const {
    if (tile >= end) return false;
    wait_for_copies();
    __syncthreads();  // the tile is here for all threads, and nobody reads the other stage any more
    copy(tile + 1);
    commit_copies();
    return true;
  }
};

// c[n] += A · Bᵀ: the 16 rows of `a` from a_row on, by all rows of `b`, along the head's columns.
template <int D, int N>
__device__ void add_products(float (&c)[N][4], const Tile& a, int a_row, const Tile& b) {
  UNROLL for (int d = 0; d < D / 16; ++d) {
    uint32_t left[4], right[4];
    a.load_a(left, a_row, 16 * d);
    UNROLL for (int n = 0; n < N / 2; ++n) {
      b.load_b(right, 16 * n, 16 * d);
      multiply(c[2 * n], left, right[0], right[1]);
      multiply(c[2 * n + 1], left, right[2], right[3]);
    }
  }
}

// out += weights · B: weights [16, 8 M] in C fragments, rounded to bf16, by the rows of `b`, columns from `column` on.
template <int N, int M>
__device__ void add_weighted_rows(float (&out)[N][4], const float (&weights)[M][4], const Tile& b, int column) {
  UNROLL for (int m = 0; m < M / 2; ++m) {
    const float(&left)[4] = weights[2 * m], (&right)[4] = weights[2 * m + 1];
    const uint32_t a[4] = {pack(left[0], left[1]), pack(left[2], left[3]), pack(right[0], right[1]),
                           pack(right[2], right[3])};
    UNROLL for (int n = 0; n < N / 2; ++n) {
      uint32_t rows[4];
      b.load_b_transposed(rows, 16 * m, column + 16 * n);
      multiply(out[2 * n], a, rows[0], rows[1]);
      multiply(out[2 * n + 1], a, rows[2], rows[3]);
    }
  }
}

// Writes a warp's 16 rows of sums, times `factor`, through its rows of `staging`.
template <int N>
__device__ void write_rows(const float (&sums)[N][4], float factor, const Tile& staging, Heads<bf16> to, int head,
                           int begin, int end, int column0) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  __syncwarp();  // all lanes are done with what was there
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int h = 0; h < 2; ++h)
      *reinterpret_cast<uint32_t*>(staging.at(16 * warp + lane / 4 + 8 * h, 8 * n + 2 * (lane % 4))) =
          pack(sums[n][2 * h] * factor, sums[n][2 * h + 1] * factor);
  __syncwarp();
  UNROLL for (int step = 0; step < N / 2; ++step) {
    const Walk<16, N, 32> at(step, lane);
    const int row = begin + 16 * warp + at.row, column = column0 + at.column;
    if (row < end && column < to.head_dim)
      store_16_bytes(to(row, head) + column, load_16_bytes(staging.at(16 * warp + at.row, at.column)));
  }
}

// Whether 16 bytes of a head are 8 numbers of it, as copies and stores want. Else attention.cu computes the sums.
inline bool fits_tensor_cores(std::initializer_list<const Tensor*> rows, const AttentionShape& shape) {
  const auto fits = [](const Tensor* x) {
    return x->dtype() == DType::bf16 && x->columns() % 8 == 0 && uintptr_t(x->raw()) % 16 == 0;
  };
  return shape.head_dim % 8 == 0 && shape.head_dim <= 256 && shape.q_column % 8 == 0 && shape.k_column % 8 == 0 &&
         shape.v_column % 8 == 0 && std::ranges::all_of(rows, fits);
}
// As kernel::attention and its backward; delta [heads, query rows] = do·o.
void flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
                     AttentionShape shape, const Tensor& o, const Tensor& lse);
void flash_attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& lse,
                              const Tensor& delta, const Tensor& cu_q, const Tensor& cu_k, AttentionShape shape,
                              const Tensor& dq, const Tensor& dk, const Tensor& dv);

// Runs f with the D for a head size, a multiple of 8.
template <class F>
void dispatch_width(int head_dim, F f) {
  if (head_dim <= 32) f.template operator()<32>();
  else if (head_dim <= 64) f.template operator()<64>();
  else if (head_dim <= 80) f.template operator()<80>();
  else if (head_dim <= 96) f.template operator()<96>();
  else if (head_dim <= 128) f.template operator()<128>();
  else if (head_dim <= 192) f.template operator()<192>();
  else f.template operator()<256>();
}

}  // namespace vlm2vec::BACKEND
