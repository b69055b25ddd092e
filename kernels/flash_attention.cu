// Attention on tensor cores: the sums of attention.cu, for bf16. One block per 64 queries of one sequence and head.
#include "kernels/flash_attention.h"

namespace vlm2vec::BACKEND {
namespace {

// What a warp knows of its 16 queries; a lane has the rows lane / 4 and lane / 4 + 8, shared by four lanes.
template <int D>
struct OnlineSoftmax {
  float out[D / 8][4] = {};  // o · sum, D / 8 C fragments
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {};  // `sum` covers only this lane's keys until the end

  // Turns scores into weights, exp(scale (s − top)), and shrinks the sums to a new greatest score.
  template <int N>
  __device__ void take(float (&score)[N][4], float scale_log2) {
    UNROLL for (int h = 0; h < 2; ++h) {
      float new_top = top[h];
      UNROLL for (int n = 0; n < N; ++n) new_top = max(new_top, max(score[n][2 * h], score[n][2 * h + 1]));
      new_top = max(new_top, __shfl_xor_sync(~0u, new_top, 1));
      new_top = max(new_top, __shfl_xor_sync(~0u, new_top, 2));
      const float base = new_top == -INFINITY ? 0 : new_top * scale_log2;
      const float shrink = exp2f(top[h] * scale_log2 - base);
      top[h] = new_top, sum[h] *= shrink;
      UNROLL for (int n = 0; n < D / 8; ++n) out[n][2 * h] *= shrink, out[n][2 * h + 1] *= shrink;
      UNROLL for (int n = 0; n < N; ++n)
        UNROLL for (int e = 2 * h; e < 2 * h + 2; ++e) {
          score[n][e] = exp2f(score[n][e] * scale_log2 - base);
          sum[h] += score[n][e];
        }
    }
  }
};

// Queries in registers, or in a tile: wide heads read them again for each tile of keys.
template <int D>
struct Queries {
  static constexpr bool stay = D <= 128;
  Tile tile;
  uint32_t registers[stay ? D / 16 : 1][4];
  __device__ explicit Queries(const Tile& loaded) : tile(loaded) {
    if constexpr (stay)
      UNROLL for (int d = 0; d < D / 16; ++d) tile.load_a(registers[d], 16 * (threadIdx.x / 32), 16 * d);
  }
  template <int N>
  __device__ void score(float (&c)[N][4], const Tile& keys) const {
    if constexpr (!stay) return add_products<D>(c, tile, 16 * (threadIdx.x / 32), keys);
    else
      UNROLL for (int d = 0; d < D / 16; ++d)
        UNROLL for (int n = 0; n < N / 2; ++n) {
          uint32_t b[4];
          keys.load_b(b, 16 * n, 16 * d);
          multiply(c[2 * n], registers[d], b[0], b[1]);
          multiply(c[2 * n + 1], registers[d], b[2], b[3]);
        }
  }
};

// Takes away the scores of keys that a query does not see.
template <int N>
__device__ void hide_unseen(float (&score)[N][4], const Sight& sight, int query0, int key0) {
  const int lane = threadIdx.x % 32;
  if (sight.all_seen(query0, 16, key0, 8 * N)) return;
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int e = 0; e < 4; ++e) {
      const int key = key0 + 8 * n + 2 * (lane % 4) + e % 2, query = query0 + lane / 4 + 8 * (e / 2);
      if (key < sight.first(query) || key >= sight.end(query)) score[n][e] = -INFINITY;
    }
}

template <int D>
__global__ void __launch_bounds__(flash_threads, forward_blocks<D>)
    flash_attention_kernel(Heads<const bf16> q, Heads<const bf16> k, Heads<const bf16> v, Packing packing, int group,
                           float scale, Heads<bf16> o, float* lse, int64_t rows) {
  constexpr int KEYS = streamed_rows<D>;
  Sequence s;
  if (!find_tile(packing, packing.cu_q, blockIdx.x, flash_rows, s)) return;
  const Sight sight(s);
  const int head = blockIdx.y, kv_head = head / group, query0 = int(s.tile_begin);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, my_query = query0 + 16 * warp;

  SharedLayout shared{dynamic_shared<unsigned char>()};
  const PassingKeys<D> passing(shared, k, v, kv_head, sight, query0);
  // Queries that go into registers pass through the stage of the second tile.
  const Tile landing = Queries<D>::stay ? passing.keys[passing.first + 1] : shared.tile<D>(flash_rows);
  copy_rows<D, flash_rows>(landing, q, head, sight.q_begin, sight.queries, query0);
  passing.copy(passing.first);
  commit_copies();
  wait_for_copies();
  __syncthreads();
  const Queries<D> queries(landing);
  OnlineSoftmax<D> softmax;
  for (int tile = passing.first; passing.comes(tile); ++tile) {
    float score[KEYS / 8][4] = {};
    queries.score(score, passing.keys[tile]);
    hide_unseen(score, sight, my_query, tile * KEYS);
    softmax.take(score, scale * log2_e);
    add_weighted_rows(softmax.out, score, passing.values[tile], 0);
  }

  UNROLL for (int h = 0; h < 2; ++h) {
    float sum = softmax.sum[h];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const int query = my_query + lane / 4 + 8 * h;
    const float inverse = sum == 0 ? 0 : 1 / sum;  // without keys, o = 0
    UNROLL for (int n = 0; n < D / 8; ++n) softmax.out[n][2 * h] *= inverse, softmax.out[n][2 * h + 1] *= inverse;
    if (lane % 4 == 0 && query < sight.queries)
      lse[head * rows + sight.q_begin + query] = (softmax.top[h] * (scale * log2_e) + log2f(sum)) * ln_2;
  }
  // Out through a tile that nobody reads any more.
  const Tile staging = Queries<D>::stay ? passing.keys[passing.end] : landing;
  write_rows(softmax.out, 1, staging, o, head, sight.q_begin + query0, sight.q_begin + sight.queries, 0);
}

}  // namespace

void flash_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_q, const Tensor& cu_k,
                     AttentionShape shape, const Tensor& o, const Tensor& lse) {
  const int d = shape.head_dim;
  dispatch_width(d, [&]<int D>() {
    const size_t shared = 4 * tile_bytes<D>(streamed_rows<D>) + (D > 128 ? tile_bytes<D>(flash_rows) : 0);
    launch(dim3(tiles_of(q.rows(), cu_q, flash_rows), unsigned(shape.heads)), flash_threads, shared,
           flash_attention_kernel<D>, heads_of<const bf16>(q, shape.q_column, d),
           heads_of<const bf16>(k, shape.k_column, d), heads_of<const bf16>(v, shape.v_column, d),
           packing_of(cu_q, cu_k, shape), shape.heads / shape.kv_heads, shape.scale, heads_of<bf16>(o, 0, d),
           at<float>(lse), q.rows());
  });
}

}  // namespace vlm2vec::BACKEND
