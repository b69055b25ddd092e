// The gradients of attention; scores are computed again tile by tile from q, k and lse. No atomics: blocks of queries
// compute dq, blocks of keys dk and dv, so each sum has one owner and one order.
//
//   p_ij = exp(s_ij − lse_i),   δ_i = do_i·o_i,   ds_ij = scale · p_ij (do_i·v_j − δ_i)
//   dq_i = Σ_j ds_ij k_j,       dk_j = Σ_i ds_ij q_i,       dv_j = Σ_i p_ij do_i        (Dao et al. 2022, app. B.4)
#include "kernels/flash_attention.h"

namespace vlm2vec::BACKEND {
namespace {

// delta[head, row] = do·o.  One warp per row and head.
template <class T, class A = acc_t<T>>
__global__ void delta_kernel(Heads<const T> d_o, Heads<const T> o, A* delta, int heads, int64_t rows) {
  const int64_t item = int64_t(blockIdx.x) * attention_warps + threadIdx.x / 32, row = item / heads;
  const int head = int(item % heads);
  if (row >= rows) return;
  A sum = 0;
  for (int c = threadIdx.x % 32; c < o.head_dim; c += 32) sum += A(d_o(row, head)[c]) * A(o(row, head)[c]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) delta[head * rows + row] = sum;
}

// Computes p_ij and ds_ij from the rows of one query and one key and the query's statistics.
template <class A>
struct Gradient {
  A p, ds;
};
template <class A>
__device__ Gradient<A> score_gradient(const A* q, const A* k, const A* d_o, const A* v, int d, A scale, A lse,
                                      A delta) {
  const A p = exp(scale * dot(q, k, d) - lse);
  return {p, scale * p * (dot(d_o, v, d) - delta)};
}

// One block per 16 queries of one sequence and head, as in the forward; it loops over key tiles.
template <class T, int N, class A = acc_t<T>>
__global__ void attention_dq_kernel(Heads<const T> d_o, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                                    const A* lse, const A* delta, Packing packing, int group, A scale, Heads<T> dq,
                                    int64_t rows) {
  Sequence s;
  if (!find_tile(packing, packing.cu_q, blockIdx.x, query_tile, s)) return;
  const int head = blockIdx.y, kv_head = head / group, d = q.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A* const q_tile = dynamic_shared<A>();          // [16][d]
  A* const do_tile = q_tile + query_tile * d;     // [16][d]
  A* const k_tile = do_tile + query_tile * d;     // [32][d + 1]
  A* const v_tile = k_tile + key_tile * (d + 1);  // [32][d + 1]
  A* const ds = v_tile + key_tile * (d + 1);      // [16][32]

  load_rows(q_tile, d, q, head, s.q_begin + s.tile_begin, s.q_begin + s.queries, query_tile);
  load_rows(do_tile, d, d_o, head, s.q_begin + s.tile_begin, s.q_begin + s.queries, query_tile);
  constexpr int rows_per_warp = query_tile / attention_warps;
  Sums<A, 1, N> sums[rows_per_warp];

  const int64_t last_key = s.visible(min(s.tile_begin + query_tile, s.queries) - 1);
  for (int64_t key0 = s.first(s.tile_begin) / key_tile * key_tile; key0 < last_key; key0 += key_tile) {
    __syncthreads();  // all threads are done with the last tile
    load_rows(k_tile, d + 1, k, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    load_rows(v_tile, d + 1, v, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    __syncthreads();
    for (int r = 0; r < rows_per_warp; ++r) {
      const int row = warp + r * attention_warps;
      const int64_t query = s.tile_begin + row, statistic = head * rows + s.q_begin + query;
      if (query >= s.queries) break;
      Gradient<A> g{0, 0};
      if (s.sees(query, key0 + lane))
        g = score_gradient(q_tile + row * d, k_tile + lane * (d + 1), do_tile + row * d, v_tile + lane * (d + 1), d,
                           scale, lse[statistic], delta[statistic]);
      ds[row * key_tile + lane] = g.ds;
      __syncwarp();
      sums[r].add(ds + row * key_tile, 1, k_tile, d + 1, key_tile, d);
    }
  }
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t query = s.tile_begin + warp + r * attention_warps;
    if (query >= s.queries) break;
    T* const to = dq(s.q_begin + query, head);
    sums[r].each_column(d, [&](int c, int n) { to[c] = T(sums[r].of[0][n]); });
  }
}

// One block per 32 keys of one sequence and key head; it loops over the group's heads and the queries that see them.
template <class T, int N, class A = acc_t<T>>
__global__ void attention_dkv_kernel(Heads<const T> d_o, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                                     const A* lse, const A* delta, Packing packing, int group, A scale, Heads<T> dk,
                                     Heads<T> dv, int64_t rows) {
  Sequence s;
  if (!find_tile(packing, packing.cu_k, blockIdx.x, key_tile, s)) return;
  const int kv_head = blockIdx.y, d = q.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A* const q_tile = dynamic_shared<A>();          // [16][d]
  A* const do_tile = q_tile + query_tile * d;     // [16][d]
  A* const k_tile = do_tile + query_tile * d;     // [32][d + 1]
  A* const v_tile = k_tile + key_tile * (d + 1);  // [32][d + 1]
  A* const p = v_tile + key_tile * (d + 1);       // [16][32]
  A* const ds = p + query_tile * key_tile;        // [16][32]

  load_rows(k_tile, d + 1, k, kv_head, s.k_begin + s.tile_begin, s.k_begin + s.keys, key_tile);
  load_rows(v_tile, d + 1, v, kv_head, s.k_begin + s.tile_begin, s.k_begin + s.keys, key_tile);
  constexpr int keys_per_warp = key_tile / attention_warps;
  const int first_key = warp * keys_per_warp;
  Sums<A, keys_per_warp, N> dk_sums, dv_sums;

  // The queries that see one of the keys.
  const int64_t more_keys = s.keys - s.queries;
  const int64_t first_query = s.causal ? max(int64_t(0), s.tile_begin - more_keys) : 0;
  const int64_t end_query =
      s.window > 0 ? min(s.queries, s.tile_begin + key_tile - 1 + s.window - more_keys) : s.queries;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int64_t query0 = first_query / query_tile * query_tile; query0 < end_query; query0 += query_tile) {
      __syncthreads();  // all threads are done with the last tile
      load_rows(q_tile, d, q, head, s.q_begin + query0, s.q_begin + s.queries, query_tile);
      load_rows(do_tile, d, d_o, head, s.q_begin + query0, s.q_begin + s.queries, query_tile);
      __syncthreads();
      for (int row = warp; row < query_tile; row += attention_warps) {
        const int64_t query = query0 + row, statistic = head * rows + s.q_begin + query;
        Gradient<A> g{0, 0};
        if (query < s.queries && s.sees(query, s.tile_begin + lane))
          g = score_gradient(q_tile + row * d, k_tile + lane * (d + 1), do_tile + row * d, v_tile + lane * (d + 1), d,
                             scale, lse[statistic], delta[statistic]);
        p[row * key_tile + lane] = g.p, ds[row * key_tile + lane] = g.ds;
      }
      __syncthreads();
      dk_sums.add(ds + first_key, key_tile, q_tile, d, query_tile, d);
      dv_sums.add(p + first_key, key_tile, do_tile, d, query_tile, d);
    }
  for (int r = 0; r < keys_per_warp; ++r) {
    const int64_t key = s.tile_begin + first_key + r;
    if (key >= s.keys) break;
    T *const to_dk = dk(s.k_begin + key, kv_head), *const to_dv = dv(s.k_begin + key, kv_head);
    dk_sums.each_column(d, [&](int c, int n) { to_dk[c] = T(dk_sums.of[r][n]), to_dv[c] = T(dv_sums.of[r][n]); });
  }
}

}  // namespace

void attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                        const Tensor& lse, const Tensor& cu_q, const Tensor& cu_k, AttentionShape shape,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const int d = shape.head_dim, group = shape.heads / shape.kv_heads;
  dispatch_heads(q.dtype(), d, [&]<class T, int N>() {
    using A = acc_t<T>;
    const Packing packing = packing_of(cu_q, cu_k, shape);
    const auto q_heads = heads_of<const T>(q, shape.q_column, d), k_heads = heads_of<const T>(k, shape.k_column, d),
               v_heads = heads_of<const T>(v, shape.v_column, d), do_heads = heads_of<const T>(d_o, 0, d);
    const Tensor delta(lse.shape(), lse.dtype(), lse.device());
    launch(blocks(q.rows() * shape.heads, attention_warps), attention_threads, 0, delta_kernel<T>, do_heads,
           heads_of<const T>(o, 0, d), at<A>(delta), shape.heads, q.rows());
    if (fits_tensor_cores({&d_o, &q, &k, &v, &dq, &dk, &dv}, shape))
      return flash_attention_backward(d_o, q, k, v, lse, delta, cu_q, cu_k, shape, dq, dk, dv);

    const size_t keys = key_tile * size_t(d + 1), queries = query_tile * size_t(d), scores = query_tile * key_tile;
    launch(dim3(tiles_of(q.rows(), cu_q, query_tile), unsigned(shape.heads)), attention_threads,
           sizeof(A) * (2 * queries + 2 * keys + scores), attention_dq_kernel<T, N>, do_heads, q_heads, k_heads,
           v_heads, at<A>(lse), at<A>(delta), packing, group, shape.scale, heads_of<T>(dq, shape.q_column, d),
           q.rows());
    launch(dim3(tiles_of(k.rows(), cu_k, key_tile), unsigned(shape.kv_heads)), attention_threads,
           sizeof(A) * (2 * queries + 2 * keys + 2 * scores), attention_dkv_kernel<T, N>, do_heads, q_heads, k_heads,
           v_heads, at<A>(lse), at<A>(delta), packing, group, shape.scale, heads_of<T>(dk, shape.k_column, d),
           heads_of<T>(dv, shape.v_column, d), q.rows());
  });
}

}  // namespace vlm2vec::BACKEND
