// Attention over packed rows with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022). Only one tile of
// scores exists at a time, so memory grows with the rows, not with their square.
//
// bf16 goes to tensor cores (flash_attention.cu). These kernels define the sums and are the oracle; they compute f32,
// f64, and heads whose size is no multiple of 8.
#include "kernels/flash_attention.h"

namespace vlm2vec::BACKEND {
namespace {

// o_i = Σ_j p_ij v_j,   p_ij = exp(s_ij − lse_i),   s_ij = scale · q_i·k_j,   lse_i = log Σ_j exp(s_ij),  j over the
// keys that i sees. Without keys, o_i = 0 and lse_i = −∞.
//
// One block per 16 queries of one sequence and head. A warp has two queries; its lanes are the keys of the tile now in
// shared memory. The kernel keeps the greatest score m so far, Σ exp(s − m) and o · Σ exp(s − m); a new greatest score
// m' shrinks both sums by exp(m − m'). Tiles start at the sequence's first key: other packed sequences do not change a
// bit.
template <class T, int N, class A = acc_t<T>>
__global__ void attention_kernel(Heads<const T> q, Heads<const T> k, Heads<const T> v, Packing packing, int group,
                                 A scale, Heads<T> o, A* lse, int64_t rows) {
  Sequence s;
  if (!find_tile(packing, packing.cu_q, blockIdx.x, query_tile, s)) return;
  const int head = blockIdx.y, kv_head = head / group, d = q.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A* const q_tile = dynamic_shared<A>();           // [16][d]
  A* const v_tile = q_tile + query_tile * d;       // [32][d]
  A* const k_tile = v_tile + key_tile * d;         // [32][d + 1]: the lanes' rows start in different banks
  A* const weights = k_tile + key_tile * (d + 1);  // [16][32]

  load_rows(q_tile, d, q, head, s.q_begin + s.tile_begin, s.q_begin + s.queries, query_tile);
  constexpr int rows_per_warp = query_tile / attention_warps;
  Sums<A, 1, N> out[rows_per_warp];
  A top[rows_per_warp], sum[rows_per_warp];  // `sum` covers only this lane's keys until the end
  for (int r = 0; r < rows_per_warp; ++r) top[r] = -INFINITY, sum[r] = 0;

  const int64_t last_key = s.visible(min(s.tile_begin + query_tile, s.queries) - 1);
  for (int64_t key0 = s.first(s.tile_begin) / key_tile * key_tile; key0 < last_key; key0 += key_tile) {
    __syncthreads();  // all threads are done with the last tile
    load_rows(k_tile, d + 1, k, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    load_rows(v_tile, d, v, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    __syncthreads();
    for (int r = 0; r < rows_per_warp; ++r) {
      const int row = warp + r * attention_warps;
      const int64_t query = s.tile_begin + row;
      if (key0 >= s.visible(query) || key0 + key_tile <= s.first(query)) continue;  // the whole warp skips
      const bool sees = s.sees(query, key0 + lane);
      const A score = sees ? scale * dot(q_tile + row * d, k_tile + lane * (d + 1), d) : -INFINITY;
      const A new_top = max(top[r], warp_max(score));
      const A shrink = exp(top[r] - new_top), weight = exp(score - new_top);
      top[r] = new_top, sum[r] = sum[r] * shrink + weight;
      weights[row * key_tile + lane] = weight;
      __syncwarp();
      for (A& x : out[r].of[0]) x *= shrink;
      out[r].add(weights + row * key_tile, 1, v_tile, d, key_tile, d);
    }
  }

  for (int r = 0; r < rows_per_warp; ++r) {
    const int row = warp + r * attention_warps;
    const int64_t query = s.tile_begin + row;
    if (query >= s.queries) return;  // later rows of the warp are beyond the end, too
    const A total = warp_sum(sum[r]);
    T* const to = o(s.q_begin + query, head);
    out[r].each_column(d, [&](int c, int n) { to[c] = T(total == 0 ? A(0) : out[r].of[0][n] / total); });
    if (lane == 0) lse[head * rows + s.q_begin + query] = top[r] + log(total);
  }
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
               AttentionShape shape, const Tensor& o, const Tensor& lse) {
  if (fits_tensor_cores({&q, &k, &v, &o}, shape)) return flash_attention(q, k, v, cu_q, cu_k, shape, o, lse);
  const int d = shape.head_dim;
  dispatch_heads(q.dtype(), d, [&]<class T, int N>() {
    using A = acc_t<T>;
    const size_t shared = sizeof(A) * size_t(query_tile * d + key_tile * (2 * d + 1) + query_tile * key_tile);
    launch(dim3(tiles_of(q.rows(), cu_q, query_tile), unsigned(shape.heads)), attention_threads, shared,
           attention_kernel<T, N>, heads_of<const T>(q, shape.q_column, d), heads_of<const T>(k, shape.k_column, d),
           heads_of<const T>(v, shape.v_column, d), packing_of(cu_q, cu_k, shape), shape.heads / shape.kv_heads,
           shape.scale, heads_of<T>(o, 0, d), at<A>(lse), q.rows());
  });
}

}  // namespace vlm2vec::BACKEND
