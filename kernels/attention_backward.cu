// The gradients of attention; scores are computed again tile by tile from q, k and lse. No atomics: blocks of queries
// compute dq, blocks of keys dk and dv, so each sum has one owner and one order.
//
//   p_ij = exp(s_ij − lse_i),   δ_i = do_i·o_i,   ds_ij = scale · p_ij (do_i·v_j − δ_i)
//   dq_i = Σ_j ds_ij k_j,       dk_j = Σ_i ds_ij q_i,       dv_j = Σ_i p_ij do_i        (Dao et al. 2022, app. B.4)
#include "kernels/attention_tile.h"

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
template <class T, class A = acc_t<T>>
__global__ void attention_dq_kernel(Heads<const T> d_o, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                                    const A* lse, const A* delta, Packing packing, int group, A scale, Heads<T> dq,
                                    int64_t rows) {
  Sequence s;
  if (!find_tile(packing, packing.cu_q, blockIdx.x, query_tile, s)) return;
  const int head = blockIdx.y, kv_head = head / group, d = q.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A* const q_tile = dynamic_shared<A>();          // [16][d]
  A* const do_tile = q_tile + query_tile * d;     // [16][d]
  A* const dq_tile = do_tile + query_tile * d;    // [16][d]
  A* const k_tile = dq_tile + query_tile * d;     // [32][d + 1]
  A* const v_tile = k_tile + key_tile * (d + 1);  // [32][d + 1]
  A* const ds = v_tile + key_tile * (d + 1);      // [16][32]

  load_rows(q_tile, d, q, head, s.q_begin + s.tile_begin, s.q_begin + s.queries, query_tile);
  load_rows(do_tile, d, d_o, head, s.q_begin + s.tile_begin, s.q_begin + s.queries, query_tile);
  for (int e = threadIdx.x; e < query_tile * d; e += attention_threads) dq_tile[e] = 0;

  const int64_t last_key = s.visible(min(s.tile_begin + query_tile, s.queries) - 1);
  for (int64_t key0 = 0; key0 < last_key; key0 += key_tile) {
    __syncthreads();  // all threads are done with the last tile
    load_rows(k_tile, d + 1, k, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    load_rows(v_tile, d + 1, v, kv_head, s.k_begin + key0, s.k_begin + s.keys, key_tile);
    __syncthreads();
    for (int row = warp; row < query_tile; row += attention_warps) {
      const int64_t query = s.tile_begin + row, statistic = head * rows + s.q_begin + query;
      if (query >= s.queries) break;
      Gradient<A> g{0, 0};
      if (key0 + lane < s.visible(query))
        g = score_gradient(q_tile + row * d, k_tile + lane * (d + 1), do_tile + row * d, v_tile + lane * (d + 1), d,
                           scale, lse[statistic], delta[statistic]);
      ds[row * key_tile + lane] = g.ds;
      __syncwarp();
      for (int c = lane; c < d; c += 32)
        for (int j = 0; j < key_tile; ++j) dq_tile[row * d + c] += ds[row * key_tile + j] * k_tile[j * (d + 1) + c];
    }
  }
  __syncthreads();
  for (int e = threadIdx.x; e < query_tile * d; e += attention_threads)
    if (s.tile_begin + e / d < s.queries) dq(s.q_begin + s.tile_begin + e / d, head)[e % d] = T(dq_tile[e]);
}

// One block per 32 keys of one sequence and key head; it loops over the group's heads and the queries that see them.
template <class T, class A = acc_t<T>>
__global__ void attention_dkv_kernel(Heads<const T> d_o, Heads<const T> q, Heads<const T> k, Heads<const T> v,
                                     const A* lse, const A* delta, Packing packing, int group, A scale, Heads<T> dk,
                                     Heads<T> dv, int64_t rows) {
  Sequence s;
  if (!find_tile(packing, packing.cu_k, blockIdx.x, key_tile, s)) return;
  const int kv_head = blockIdx.y, d = q.head_dim;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  A* const q_tile = dynamic_shared<A>();           // [16][d]
  A* const do_tile = q_tile + query_tile * d;      // [16][d]
  A* const k_tile = do_tile + query_tile * d;      // [32][d + 1]
  A* const v_tile = k_tile + key_tile * (d + 1);   // [32][d + 1]
  A* const dk_tile = v_tile + key_tile * (d + 1);  // [32][d]
  A* const dv_tile = dk_tile + key_tile * d;       // [32][d]
  A* const p = dv_tile + key_tile * d;             // [16][32]
  A* const ds = p + query_tile * key_tile;         // [16][32]

  load_rows(k_tile, d + 1, k, kv_head, s.k_begin + s.tile_begin, s.k_begin + s.keys, key_tile);
  load_rows(v_tile, d + 1, v, kv_head, s.k_begin + s.tile_begin, s.k_begin + s.keys, key_tile);
  for (int e = threadIdx.x; e < key_tile * d; e += attention_threads) dk_tile[e] = dv_tile[e] = 0;

  const int64_t first_query = s.causal ? max(int64_t(0), s.tile_begin - (s.keys - s.queries)) : 0;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int64_t query0 = first_query / query_tile * query_tile; query0 < s.queries; query0 += query_tile) {
      __syncthreads();  // all threads are done with the last tile
      load_rows(q_tile, d, q, head, s.q_begin + query0, s.q_begin + s.queries, query_tile);
      load_rows(do_tile, d, d_o, head, s.q_begin + query0, s.q_begin + s.queries, query_tile);
      __syncthreads();
      for (int row = warp; row < query_tile; row += attention_warps) {
        const int64_t query = query0 + row, statistic = head * rows + s.q_begin + query;
        Gradient<A> g{0, 0};
        if (query < s.queries && s.tile_begin + lane < s.visible(query))
          g = score_gradient(q_tile + row * d, k_tile + lane * (d + 1), do_tile + row * d, v_tile + lane * (d + 1), d,
                             scale, lse[statistic], delta[statistic]);
        p[row * key_tile + lane] = g.p, ds[row * key_tile + lane] = g.ds;
      }
      __syncthreads();
      for (int e = threadIdx.x; e < key_tile * d; e += attention_threads) {
        const int key = e / d, c = e % d;
        for (int row = 0; row < query_tile; ++row) {
          dk_tile[e] += ds[row * key_tile + key] * q_tile[row * d + c];
          dv_tile[e] += p[row * key_tile + key] * do_tile[row * d + c];
        }
      }
    }
  for (int e = threadIdx.x; e < key_tile * d; e += attention_threads) {  // each thread writes the elements it summed
    const int64_t key = s.tile_begin + e / d;
    if (key >= s.keys) break;
    dk(s.k_begin + key, kv_head)[e % d] = T(dk_tile[e]);
    dv(s.k_begin + key, kv_head)[e % d] = T(dv_tile[e]);
  }
}

}  // namespace

void attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o,
                        const Tensor& lse, const Tensor& cu_q, const Tensor& cu_k, AttentionShape shape,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  dispatch_float(q.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    const int d = shape.head_dim, group = shape.heads / shape.kv_heads;
    const Packing packing = packing_of(cu_q, cu_k, shape.causal);
    const auto q_heads = heads_of<const T>(q, shape.q_column, d), k_heads = heads_of<const T>(k, shape.k_column, d),
               v_heads = heads_of<const T>(v, shape.v_column, d), do_heads = heads_of<const T>(d_o, 0, d);
    const Tensor delta(lse.shape(), lse.dtype(), lse.device());
    launch(blocks(q.rows() * shape.heads, attention_warps), attention_threads, 0, delta_kernel<T>, do_heads,
           heads_of<const T>(o, 0, d), at<A>(delta), shape.heads, q.rows());

    const size_t keys = key_tile * size_t(d + 1), queries = query_tile * size_t(d), scores = query_tile * key_tile;
    launch(dim3(tiles_of(q.rows(), cu_q, query_tile), unsigned(shape.heads)), attention_threads,
           sizeof(A) * (3 * queries + 2 * keys + scores), attention_dq_kernel<T>, do_heads, q_heads, k_heads, v_heads,
           at<A>(lse), at<A>(delta), packing, group, shape.scale, heads_of<T>(dq, shape.q_column, d), q.rows());
    launch(dim3(tiles_of(k.rows(), cu_k, key_tile), unsigned(shape.kv_heads)), attention_threads,
           sizeof(A) * (2 * queries + 4 * keys + 2 * scores), attention_dkv_kernel<T>, do_heads, q_heads, k_heads,
           v_heads, at<A>(lse), at<A>(delta), packing, group, shape.scale, heads_of<T>(dk, shape.k_column, d),
           heads_of<T>(dv, shape.v_column, d), q.rows());
  });
}

}  // namespace vlm2vec::BACKEND
