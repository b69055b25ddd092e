// Shared by the attention kernels: the rows of a block, the keys that a query sees, and loading the rows of a head into
// shared memory, and sums in registers. A block is 8 warps; a tile is 16 queries (two per warp) or 32 keys (one per
// lane, or four per warp).
#pragma once
#include <type_traits>

#include "kernels/block.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {

constexpr int query_tile = 16, key_tile = 32, attention_warps = 8, attention_threads = 32 * attention_warps;

// Rows of q, k, v, o or a gradient; the heads of a row lie side by side.
template <class T>
struct Heads {
  T* first;       // row 0, head 0
  int64_t pitch;  // elements from row to row
  int head_dim;
  __device__ T* operator()(int64_t row, int head) const { return first + row * pitch + int64_t(head) * head_dim; }
};
template <class T>
Heads<T> heads_of(const Tensor& x, int column, int head_dim) {
  return {at<std::remove_const_t<T>>(x) + column, x.columns(), head_dim};
}

// The packed sequences: sequence s has the query rows cu_q[s] … cu_q[s+1] and the key rows cu_k[s] … cu_k[s+1].
struct Packing {
  const int32_t *cu_q, *cu_k;
  int sequences;
  bool causal;
  int window;
};
inline Packing packing_of(const Tensor& cu_q, const Tensor& cu_k, const AttentionShape& shape) {
  return {at<int32_t>(cu_q), at<int32_t>(cu_k), int(cu_q.numel()) - 1, shape.causal, shape.window};
}

// One sequence, and the start of this block's tile in it.
struct Sequence {
  int64_t q_begin, queries, k_begin, keys, tile_begin;
  bool causal;
  int window;
  // Returns the end of the keys that query i sees: of the last query, all keys.
  __device__ int64_t visible(int64_t i) const {
    return causal ? max(int64_t(0), min(keys, i + 1 + keys - queries)) : keys;
  }
  // Returns the first key that query i sees.
  __device__ int64_t first(int64_t i) const {
    return window > 0 ? max(int64_t(0), i + 1 + keys - queries - window) : 0;
  }
  __device__ bool sees(int64_t i, int64_t key) const { return key >= first(i) && key < visible(i); }
};

// Finds the rows of tile number `tile`; false if it has none. The numbers of sequence s begin at cu[s] / size + s.
// For its n rows it has ⌈n / size⌉ or more: ⌊(a + n) / size⌋ + 1 − ⌊a / size⌋ ≥ ⌊n / size⌋ + 1 ≥ ⌈n / size⌉.
__device__ inline bool find_tile(const Packing& p, const int32_t* cu, int64_t tile, int size, Sequence& found) {
  int s = 0;
  for (int end = p.sequences; end - s > 1;) {
    const int middle = (s + end) / 2;
    (cu[middle] / size + middle <= tile ? s : end) = middle;
  }
  const int64_t begin = (tile - cu[s] / size - s) * size;
  found = {p.cu_q[s], p.cu_q[s + 1] - p.cu_q[s], p.cu_k[s], p.cu_k[s + 1] - p.cu_k[s], begin, p.causal, p.window};
  return begin < cu[s + 1] - cu[s];
}
// Returns the number of tile numbers: where those of a next sequence would begin.
inline unsigned tiles_of(int64_t rows, const Tensor& cu, int size) { return unsigned(rows / size + cu.numel() - 1); }

// Loads rows begin … begin + count of a head into shared memory [count][pitch], with zeros from row `end` on.
template <class T, class A>
__device__ void load_rows(A* to, int pitch, Heads<T> x, int head, int64_t begin, int64_t end, int count) {
  const int d = x.head_dim;
  for (int e = threadIdx.x; e < count * d; e += attention_threads) {
    const int row = e / d, c = e % d;
    to[row * pitch + c] = begin + row < end ? A(x(begin + row, head)[c]) : A(0);
  }
}

// R sums over rows in shared memory, in the registers of a warp: a lane has every 32nd of up to 32 · N columns.
template <class A, int R, int N>
struct Sums {
  A of[R][N] = {};
  // Calls f(column, n) for the lane's columns below d.
  template <class F>
  __device__ static void each_column(int d, F f) {
    for (int n = 0; n < N; ++n)
      if (const int c = threadIdx.x % 32 + 32 * n; c < d) f(c, n);
  }
  // of[r] += Σ_j weights[j · step + r] · rows[j · pitch], in order of j
  __device__ void add(const A* weights, int step, const A* rows, int pitch, int count, int d) {
    for (int j = 0; j < count; ++j)
      each_column(d, [&](int c, int n) {
        for (int r = 0; r < R; ++r) of[r][n] += weights[j * step + r] * rows[j * pitch + c];
      });
  }
};

// Runs f with the numbers' type and N, for which 32 · N columns hold a head.
template <class F>
void dispatch_heads(DType dtype, int head_dim, F f) {
  CHECK(head_dim <= 256, "attention: head_dim is ", head_dim, ", device kernels hold at most 256; use --device cpu");
  dispatch_float(dtype, [&]<class T>() {
    if (head_dim <= 64) f.template operator()<T, 2>();
    else if (head_dim <= 128) f.template operator()<T, 4>();
    else f.template operator()<T, 8>();
  });
}

template <class A>
__device__ A dot(const A* a, const A* b, int n) {
  A sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace vlm2vec::BACKEND
