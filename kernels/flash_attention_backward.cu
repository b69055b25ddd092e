// The gradients of attention on tensor cores: the sums of attention_backward.cu, for bf16. No atomics: a block of 64
// keys owns its dk and dv, a block of 64 queries its dq, and each computes the scores again. Every sum has one order.
#include "kernels/flash_attention.h"

namespace vlm2vec::BACKEND {
namespace {

struct Statistics {
  float lse, delta;  // lse · log2 e
};
// Reads a query's; `first`: where those of the head begin. Beyond the sequence no key has weight.
__device__ inline Statistics statistics_of(const Sight& sight, const float* lse, const float* delta, int64_t first,
                                           int query) {
  const int64_t at = first + sight.q_begin + query;
  return query < sight.queries ? Statistics{lse[at] * log2_e, delta[at]} : Statistics{INFINITY, 0};
}

// Turns scores and do·v of 16 keys × 8 N queries into weights and, but for the scale, gradients of scores.
template <int N>
__device__ void turn_into_gradients(float (&p)[N][4], float (&ds)[N][4], const Sight& sight, const float* lse,
                                    const float* delta, int query0, int key0, float scale_log2) {
  const int lane = threadIdx.x % 32;
  const bool all = sight.all_seen(query0, 8 * N, key0, 16);
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int e = 0; e < 4; ++e) {
      const int column = 8 * n + 2 * (lane % 4) + e % 2, query = query0 + column, key = key0 + lane / 4 + 8 * (e / 2);
      const bool seen = all || (key >= sight.first(query) && key < sight.end(query));
      p[n][e] = seen ? exp2f(p[n][e] * scale_log2 - lse[column]) : 0;
      ds[n][e] = p[n][e] * (ds[n][e] - delta[column]);
    }
}

// One block per 64 keys of one sequence and key head; it loops over the group's heads and the queries that see them.
// Scores are computed transposed, keys × queries, so that they are A fragments of dv = Pᵀ do and dk = dSᵀ q. If D is
// above 128, a block sums half of the columns: blockIdx.z says which.
template <int D>
__global__ void __launch_bounds__(flash_threads)
    flash_dkv_kernel(Heads<const bf16> d_o, Heads<const bf16> q, Heads<const bf16> k, Heads<const bf16> v,
                     const float* lse, const float* delta, Packing packing, int group, float scale, Heads<bf16> dk,
                     Heads<bf16> dv, int64_t rows) {
  constexpr int QUERIES = streamed_queries<D>, COLUMNS = D > 128 ? D / 2 : D;
  Sequence s;
  if (!find_tile(packing, packing.cu_k, blockIdx.x, flash_rows, s)) return;
  const Sight sight(s);
  const int kv_head = blockIdx.y, key0 = int(s.tile_begin), column0 = int(blockIdx.z) * COLUMNS;
  const int warp = threadIdx.x / 32, my_key = key0 + 16 * warp;

  SharedLayout shared{dynamic_shared<unsigned char>()};
  const Tile keys = shared.tile<D>(flash_rows), values = shared.tile<D>(flash_rows);
  const auto queries = shared.stages<D, QUERIES>(), gradients = shared.stages<D, QUERIES>();
  float* const lses = shared.take<float>(2 * QUERIES);  // the queries' statistics, of each stage
  float* const deltas = shared.take<float>(2 * QUERIES);

  // The queries that see one of the keys, by tiles; the group's heads one after another.
  const int end_query = sight.end_query(min(key0 + flash_rows, sight.keys));
  const int first_tile = sight.first_query(key0) / QUERIES;
  const int tiles = max(0, (end_query + QUERIES - 1) / QUERIES - first_tile), steps = tiles * group;
  const auto head_of = [&](int step) { return kv_head * group + step / tiles; };
  const auto query_of = [&](int step) { return (first_tile + step % tiles) * QUERIES; };
  const auto copy_step = [&](int step) {
    const int head = head_of(step), query = query_of(step) + int(threadIdx.x);
    copy_rows<D, QUERIES>(queries[step], q, head, sight.q_begin, sight.queries, query_of(step));
    copy_rows<D, QUERIES>(gradients[step], d_o, head, sight.q_begin, sight.queries, query_of(step));
    if (threadIdx.x >= QUERIES) return;
    const Statistics s = statistics_of(sight, lse, delta, head * rows, query);
    lses[step % 2 * QUERIES + threadIdx.x] = s.lse, deltas[step % 2 * QUERIES + threadIdx.x] = s.delta;
  };
  copy_rows<D, flash_rows>(keys, k, kv_head, sight.k_begin, sight.keys, key0);
  copy_rows<D, flash_rows>(values, v, kv_head, sight.k_begin, sight.keys, key0);
  if (steps > 0) copy_step(0);
  commit_copies();

  float dk_sums[COLUMNS / 8][4] = {}, dv_sums[COLUMNS / 8][4] = {};
  for (int step = 0; step < steps; ++step) {
    wait_for_copies();
    __syncthreads();  // the step's tiles are here for all threads, and nobody reads the other stage any more
    if (step + 1 < steps) copy_step(step + 1);
    commit_copies();

    float p[QUERIES / 8][4] = {}, ds[QUERIES / 8][4] = {};
    add_products<D>(p, keys, 16 * warp, queries[step]);
    add_products<D>(ds, values, 16 * warp, gradients[step]);
    const int stage = step % 2 * QUERIES;
    turn_into_gradients(p, ds, sight, lses + stage, deltas + stage, query_of(step), my_key, scale * log2_e);
    add_weighted_rows(dv_sums, p, gradients[step], column0);
    add_weighted_rows(dk_sums, ds, queries[step], column0);
  }
  wait_for_copies();
  __syncthreads();  // nobody reads the keys any more
  write_rows(dk_sums, scale, keys, dk, kv_head, sight.k_begin + key0, sight.k_begin + sight.keys, column0);
  write_rows(dv_sums, 1, values, dv, kv_head, sight.k_begin + key0, sight.k_begin + sight.keys, column0);
}

// One block per 64 queries of one sequence and head, as in the forward.
template <int D>
__global__ void __launch_bounds__(flash_threads)
    flash_dq_kernel(Heads<const bf16> d_o, Heads<const bf16> q, Heads<const bf16> k, Heads<const bf16> v,
                    const float* lse, const float* delta, Packing packing, int group, float scale, Heads<bf16> dq,
                    int64_t rows) {
  constexpr int KEYS = streamed_rows<D>;
  Sequence s;
  if (!find_tile(packing, packing.cu_q, blockIdx.x, flash_rows, s)) return;
  const Sight sight(s);
  const int head = blockIdx.y, kv_head = head / group, query0 = int(s.tile_begin);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, my_query = query0 + 16 * warp;

  SharedLayout shared{dynamic_shared<unsigned char>()};
  const Tile queries = shared.tile<D>(flash_rows), gradients = shared.tile<D>(flash_rows);
  const auto keys = shared.stages<D, KEYS>(), values = shared.stages<D, KEYS>();
  const int last_key = sight.end(min(query0 + flash_rows, sight.queries) - 1);
  const int first_tile = sight.first(query0) / KEYS, tiles = (last_key + KEYS - 1) / KEYS;
  const auto copy_tile = [&](int tile) {
    copy_rows<D, KEYS>(keys[tile], k, kv_head, sight.k_begin, sight.keys, tile * KEYS);
    copy_rows<D, KEYS>(values[tile], v, kv_head, sight.k_begin, sight.keys, tile * KEYS);
  };
  copy_rows<D, flash_rows>(queries, q, head, sight.q_begin, sight.queries, query0);
  copy_rows<D, flash_rows>(gradients, d_o, head, sight.q_begin, sight.queries, query0);
  if (first_tile < tiles) copy_tile(first_tile);
  commit_copies();

  Statistics of_row[2];
  UNROLL for (int h = 0; h < 2; ++h)
    of_row[h] = statistics_of(sight, lse, delta, head * rows, my_query + lane / 4 + 8 * h);
  float sums[D / 8][4] = {};
  for (int tile = first_tile; tile < tiles; ++tile) {
    wait_for_copies();
    __syncthreads();  // the tile is here for all threads, and nobody reads the other stage any more
    if (tile + 1 < tiles) copy_tile(tile + 1);
    commit_copies();

    float p[KEYS / 8][4] = {}, ds[KEYS / 8][4] = {};
    add_products<D>(p, queries, 16 * warp, keys[tile]);
    add_products<D>(ds, gradients, 16 * warp, values[tile]);
    const int key0 = tile * KEYS;
    const bool all = sight.all_seen(my_query, 16, key0, KEYS);
    UNROLL for (int n = 0; n < KEYS / 8; ++n)
      UNROLL for (int e = 0; e < 4; ++e) {
        const int key = key0 + 8 * n + 2 * (lane % 4) + e % 2, query = my_query + lane / 4 + 8 * (e / 2);
        const bool seen = all || (key >= sight.first(query) && key < sight.end(query));
        const float weight = seen ? exp2f(p[n][e] * (scale * log2_e) - of_row[e / 2].lse) : 0;
        ds[n][e] = weight * (ds[n][e] - of_row[e / 2].delta);
      }
    add_weighted_rows(sums, ds, keys[tile], 0);
  }
  wait_for_copies();
  __syncthreads();  // nobody reads the queries any more, and all of them are here
  write_rows(sums, scale, queries, dq, head, sight.q_begin + query0, s.q_begin + s.queries, 0);
}

}  // namespace

void flash_attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& lse, const Tensor& delta, const Tensor& cu_q, const Tensor& cu_k,
                              AttentionShape shape, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const int d = shape.head_dim, group = shape.heads / shape.kv_heads;
  const Packing packing = packing_of(cu_q, cu_k, shape);
  const auto q_heads = heads_of<const bf16>(q, shape.q_column, d), k_heads = heads_of<const bf16>(k, shape.k_column, d),
             v_heads = heads_of<const bf16>(v, shape.v_column, d), do_heads = heads_of<const bf16>(d_o, 0, d);
  dispatch_width(d, [&]<int D>() {
    constexpr int KEYS = streamed_rows<D>, QUERIES = streamed_queries<D>;
    const auto shared = [](int streamed) { return 2 * tile_bytes<D>(flash_rows) + 4 * tile_bytes<D>(streamed); };
    launch(dim3(tiles_of(q.rows(), cu_q, flash_rows), unsigned(shape.heads)), flash_threads, shared(KEYS),
           flash_dq_kernel<D>, do_heads, q_heads, k_heads, v_heads, at<float>(lse), at<float>(delta), packing, group,
           shape.scale, heads_of<bf16>(dq, shape.q_column, d), q.rows());
    launch(dim3(tiles_of(k.rows(), cu_k, flash_rows), unsigned(shape.kv_heads), D > 128 ? 2 : 1), flash_threads,
           shared(QUERIES) + sizeof(Statistics) * 2 * QUERIES, flash_dkv_kernel<D>, do_heads, q_heads, k_heads, v_heads,
           at<float>(lse), at<float>(delta), packing, group, shape.scale, heads_of<bf16>(dk, shape.k_column, d),
           heads_of<bf16>(dv, shape.v_column, d), q.rows());
  });
}

}  // namespace vlm2vec::BACKEND
