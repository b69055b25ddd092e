// The gradients of attention on tensor cores: the sums of attention_backward.cu, for bf16. A block of 64 keys computes
// its dk and dv, a block of 64 queries its dq, and each computes the scores again: every sum has one order. If it need
// not have, the blocks of keys add dq, too, by atomics.
#include "kernels/flash_attention.h"
#include "kernels/vectors.h"

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

// The queries that see one of a block's keys, by tiles, the group's heads one after another: the steps of the block, or
// one of `parts` parts of them.
template <int QUERIES>
struct QuerySteps {
  int first_head, first_tile, tiles, begin, end;
  __device__ QuerySteps(const Sight& sight, int key0, int kv_head, int group, int part, int parts)
      : first_head(kv_head * group), first_tile(sight.first_query(key0) / QUERIES) {
    const int end_query = sight.end_query(min(key0 + flash_rows, sight.keys));
    tiles = max(0, (end_query + QUERIES - 1) / QUERIES - first_tile);
    begin = tiles * group * part / parts, end = tiles * group * (part + 1) / parts;
  }
  __device__ int head(int step) const { return first_head + step / tiles; }
  __device__ int query(int step) const { return (first_tile + step % tiles) * QUERIES; }
};

// Writes a warp's 16 rows of sums. Four lanes write a sector.
template <int N>
__device__ void write_sums(const float (&sums)[N][4], Heads<float> to, int head, int begin, int end, int column0) {
  const int lane = threadIdx.x % 32, row = begin + 16 * (int(threadIdx.x) / 32) + lane / 4;
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int h = 0; h < 2; ++h)
      if (const int column = column0 + 8 * n + 2 * (lane % 4); row + 8 * h < end && column < to.head_dim)
        store_pair(to(row + 8 * h, head) + column, sums[n][2 * h], sums[n][2 * h + 1]);
}

// Where a block of keys writes: dk and dv or, of several parts, to each part's own dk / scale and dv in f32.
struct KeyGradients {
  Heads<bf16> dk, dv;
  Heads<float> dk_sums, dv_sums;
  int parts;
  int64_t size;  // numbers of a part
  template <int N>
  __device__ void write(const float (&of_dk)[N][4], const float (&of_dv)[N][4], float scale, int part,
                        const Tile& dk_staging, const Tile& dv_staging, int head, int begin, int end,
                        int column0) const {
    if (parts == 1) {
      write_rows(of_dk, scale, dk_staging, dk, head, begin, end, column0);
      write_rows(of_dv, 1, dv_staging, dv, head, begin, end, column0);
    } else {
      write_sums(of_dk, {dk_sums.first + part * size, dk_sums.pitch, dk_sums.head_dim}, head, begin, end, column0);
      write_sums(of_dv, {dv_sums.first + part * size, dv_sums.pitch, dv_sums.head_dim}, head, begin, end, column0);
    }
  }
};

// Adds a C fragment to the rows and columns from `to` on, of which `rows` are there. Lanes swap one number of two: then
// eight of them have the eight columns of a row, a sector.
__device__ inline void add_fragment(const float (&c)[4], float* to, int64_t pitch, int rows) {
  const int lane = threadIdx.x % 32, odd = lane / 4 % 2;
  UNROLL for (int h = 0; h < 2; ++h) {
    const int row = 8 * h + lane / 4 - odd;
    const float swapped = __shfl_xor_sync(~0u, odd ? c[2 * h] : c[2 * h + 1], 4);
    float* const at = to + row * pitch + 2 * (lane % 4) + odd;
    if (row < rows) add_atomically(at, odd ? swapped : c[2 * h]);
    if (row + 1 < rows) add_atomically(at + pitch, odd ? c[2 * h + 1] : swapped);
  }
}

// Puts a warp's gradients of scores, 16 keys × 8 N queries in C fragments, into a tile [64 keys][8 N queries].
template <int N>
__device__ void put_gradients(const Tile& to, const float (&ds)[N][4]) {
  const int lane = threadIdx.x % 32, row = 16 * (int(threadIdx.x) / 32) + lane / 4;
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int h = 0; h < 2; ++h)
      *reinterpret_cast<uint32_t*>(to.at(row + 8 * h, 8 * n + 2 * (lane % 4))) = pack(ds[n][2 * h], ds[n][2 * h + 1]);
}

// dq += dS k of the block's keys, COLUMNS columns from column0 on, for `rows` queries. Each warp has 16 queries and all
// columns or, if there are 32 queries, half of them. ds [64 keys][QUERIES].
template <int QUERIES, int COLUMNS>
__device__ void add_dq(const Tile& ds, const Tile& keys, int column0, Heads<float> dq, int head, int first, int rows) {
  constexpr int across = flash_warps / (QUERIES / 16), columns = COLUMNS / across;
  const int warp = threadIdx.x / 32, row0 = 16 * (warp / across), begin = column0 + warp % across * columns;
  uint32_t a[flash_rows / 16][4];
  UNROLL for (int m = 0; m < flash_rows / 16; ++m) ds.load_a_transposed(a[m], 16 * m, row0);
  UNROLL for (int column = begin; column < begin + columns; column += 16) {
    float sums[2][4] = {};
    UNROLL for (int m = 0; m < flash_rows / 16; ++m) {
      uint32_t b[4];
      keys.load_b_transposed(b, 16 * m, column);
      multiply(sums[0], a[m], b[0], b[1]);
      multiply(sums[1], a[m], b[2], b[3]);
    }
    UNROLL for (int n = 0; n < 2; ++n)
      if (column + 8 * n < dq.head_dim)
        add_fragment(sums[n], dq(first + row0, head) + column + 8 * n, dq.pitch, rows - row0);
  }
}

// One block per 64 keys of one sequence and key head, and part of the steps. Scores are computed transposed, keys ×
// queries, so that they are A fragments of dv = Pᵀ do and dk = dSᵀ q. If D is above 128, a block sums half of the
// columns. blockIdx.z: the part, and which half.
template <int D, bool ADDS_DQ>
__global__ void __launch_bounds__(flash_threads)
    flash_dkv_kernel(Heads<const bf16> d_o, Heads<const bf16> q, Heads<const bf16> k, Heads<const bf16> v,
                     const float* lse, const float* delta, Packing packing, int group, float scale, KeyGradients out,
                     Heads<float> dq, int64_t rows) {
  constexpr int QUERIES = streamed_queries<D>, COLUMNS = D / key_halves<D>;
  Sequence s;
  if (!find_tile(packing, packing.cu_k, blockIdx.x, flash_rows, s)) return;
  const Sight sight(s);
  const int kv_head = blockIdx.y, key0 = int(s.tile_begin), column0 = int(blockIdx.z) % key_halves<D> * COLUMNS;
  const int warp = threadIdx.x / 32, my_key = key0 + 16 * warp, part = int(blockIdx.z) / key_halves<D>;

  SharedLayout shared{dynamic_shared<unsigned char>()};
  const Tile keys = shared.tile<D>(flash_rows), values = shared.tile<D>(flash_rows);
  const auto queries = shared.stages<D, QUERIES>(), gradients = shared.stages<D, QUERIES>();
  float* const lses = shared.take<float>(2 * QUERIES);  // the queries' statistics, of each stage
  float* const deltas = shared.take<float>(2 * QUERIES);
  const Tile turned{shared.take<bf16>(ADDS_DQ ? flash_rows * (QUERIES + 8) : 0), QUERIES + 8};

  const QuerySteps<QUERIES> steps(sight, key0, kv_head, group, part, out.parts);
  const auto copy_step = [&](int step) {
    const int head = steps.head(step), query = steps.query(step) + int(threadIdx.x);
    copy_rows<D, QUERIES>(queries[step], q, head, sight.q_begin, sight.queries, steps.query(step));
    copy_rows<D, QUERIES>(gradients[step], d_o, head, sight.q_begin, sight.queries, steps.query(step));
    if (threadIdx.x >= QUERIES) return;
    const Statistics s = statistics_of(sight, lse, delta, head * rows, query);
    lses[step % 2 * QUERIES + threadIdx.x] = s.lse, deltas[step % 2 * QUERIES + threadIdx.x] = s.delta;
  };
  copy_rows<D, flash_rows>(keys, k, kv_head, sight.k_begin, sight.keys, key0);
  copy_rows<D, flash_rows>(values, v, kv_head, sight.k_begin, sight.keys, key0);
  if (steps.begin < steps.end) copy_step(steps.begin);
  commit_copies();

  float dk_sums[COLUMNS / 8][4] = {}, dv_sums[COLUMNS / 8][4] = {};
  for (int step = steps.begin; step < steps.end; ++step) {
    wait_for_copies();
    __syncthreads();  // the step's tiles are here for all threads, and nobody reads the other stage any more
    if (step + 1 < steps.end) copy_step(step + 1);
    commit_copies();

    float p[QUERIES / 8][4] = {}, ds[QUERIES / 8][4] = {};
    add_products<D>(p, keys, 16 * warp, queries[step]);
    add_products<D>(ds, values, 16 * warp, gradients[step]);
    const int stage = step % 2 * QUERIES, query0 = steps.query(step);
    turn_into_gradients(p, ds, sight, lses + stage, deltas + stage, query0, my_key, scale * log2_e);
    if constexpr (ADDS_DQ) put_gradients(turned, ds);
    add_weighted_rows(dv_sums, p, gradients[step], column0);
    add_weighted_rows(dk_sums, ds, queries[step], column0);
    if constexpr (ADDS_DQ) {
      __syncthreads();  // all keys' gradients are there
      add_dq<QUERIES, COLUMNS>(turned, keys, column0, dq, steps.head(step), sight.q_begin + query0,
                               sight.queries - query0);
    }
  }
  wait_for_copies();
  __syncthreads();  // nobody reads the keys any more
  out.write(dk_sums, dv_sums, scale, part, keys, values, kv_head, sight.k_begin + key0, sight.k_begin + sight.keys,
            column0);
}

// to = factor · Σ parts, in order.  Each thread has 4 numbers of `size`, rows of `columns`.
__global__ void __launch_bounds__(256)
    flash_sums_kernel(const float* __restrict__ parts, int count, int64_t size, float factor, Heads<bf16> to,
                      int columns) {
  const int64_t i = (int64_t(blockIdx.x) * 256 + threadIdx.x) * 4;
  if (i >= size) return;
  Numbers<float, 4> sum{};
  for (int part = 0; part < count; ++part)
    sum = each<float>([](float a, float b) { return a + b; }, sum, load<4>(parts + part * size + i));
  store_pair(reinterpret_cast<uint32_t*>(to(i / columns, 0) + i % columns), pack(sum[0] * factor, sum[1] * factor),
             pack(sum[2] * factor, sum[3] * factor));
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
  const PassingKeys<D> passing(shared, k, v, kv_head, sight, query0);
  copy_rows<D, flash_rows>(queries, q, head, sight.q_begin, sight.queries, query0);
  copy_rows<D, flash_rows>(gradients, d_o, head, sight.q_begin, sight.queries, query0);
  passing.copy(passing.first);
  commit_copies();

  Statistics of_row[2];
  UNROLL for (int h = 0; h < 2; ++h)
    of_row[h] = statistics_of(sight, lse, delta, head * rows, my_query + lane / 4 + 8 * h);
  float sums[D / 8][4] = {};
  for (int tile = passing.first; passing.comes(tile); ++tile) {
    const int key0 = tile * KEYS;
    float p[KEYS / 8][4] = {}, ds[KEYS / 8][4] = {};
    add_products<D>(p, queries, 16 * warp, passing.keys[tile]);
    add_products<D>(ds, gradients, 16 * warp, passing.values[tile]);
    const bool all = sight.all_seen(my_query, 16, key0, KEYS);
    UNROLL for (int n = 0; n < KEYS / 8; ++n)
      UNROLL for (int e = 0; e < 4; ++e) {
        const int key = key0 + 8 * n + 2 * (lane % 4) + e % 2, query = my_query + lane / 4 + 8 * (e / 2);
        const bool seen = all || (key >= sight.first(query) && key < sight.end(query));
        const float weight = seen ? exp2f(p[n][e] * (scale * log2_e) - of_row[e / 2].lse) : 0;
        ds[n][e] = weight * (ds[n][e] - of_row[e / 2].delta);
      }
    add_weighted_rows(sums, ds, passing.keys[tile], 0);
  }
  wait_for_copies();
  __syncthreads();  // nobody reads the queries any more, and all of them are here
  write_rows(sums, scale, queries, dq, head, sight.q_begin + query0, s.q_begin + s.queries, 0);
}

// Into how many parts blocks split their steps, if without they would leave a card of 132 multiprocessors, two blocks
// each, empty. On average a part has eight steps or more, so that its sums are worth their way through memory. It
// follows from shapes alone: all cards compute the same bits.
int parts_of(unsigned blocks, int64_t steps) {
  return int(std::max<int64_t>(1, std::min<int64_t>(264 / blocks, steps / 8)));
}

// to = factor · Σ sums[part]: sums [parts, rows, columns] of f32.
void add_up(const Tensor& sums, double factor, Heads<bf16> to) {
  const int64_t columns = sums.columns(), count = sums.shape()[0], size = sums.numel() / count;
  launch(blocks(size, 4 * 256), 256, 0, flash_sums_kernel, at<float>(sums), int(count), size, factor, to, int(columns));
}

}  // namespace

void flash_attention_backward(const Tensor& d_o, const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& lse, const Tensor& delta, const Tensor& cu_q, const Tensor& cu_k,
                              AttentionShape shape, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const int d = shape.head_dim, group = shape.heads / shape.kv_heads;
  const Packing packing = packing_of(cu_q, cu_k, shape);
  const auto q_heads = heads_of<const bf16>(q, shape.q_column, d), k_heads = heads_of<const bf16>(k, shape.k_column, d),
             v_heads = heads_of<const bf16>(v, shape.v_column, d), do_heads = heads_of<const bf16>(d_o, 0, d);
  const auto dq_heads = heads_of<bf16>(dq, shape.q_column, d), dk_heads = heads_of<bf16>(dk, shape.k_column, d),
             dv_heads = heads_of<bf16>(dv, shape.v_column, d);
  const auto new_sums = [&](int64_t parts, const Tensor& rows, int heads) {
    return Tensor({parts, rows.rows(), int64_t(heads) * d}, DType::f32, q.device());
  };
  dispatch_width(d, [&]<int D>() {
    constexpr int KEYS = streamed_rows<D>, QUERIES = streamed_queries<D>;
    const auto shared = [](int streamed) { return 2 * tile_bytes<D>(flash_rows) + 4 * tile_bytes<D>(streamed); };
    const size_t of_keys = shared(QUERIES) + sizeof(Statistics) * 2 * QUERIES;
    const int64_t rows = q.rows() / packing.sequences, reach = shape.window > 0 ? shape.window + flash_rows : rows;
    const dim3 grid(tiles_of(k.rows(), cu_k, flash_rows), unsigned(shape.kv_heads), key_halves<D>);
    const int parts = parts_of(grid.x * grid.y * grid.z, group * std::min(rows, reach) / QUERIES);
    Tensor dk_sums, dv_sums, dq_sums;
    KeyGradients out{dk_heads, dv_heads, {}, {}, parts, k.rows() * shape.kv_heads * d};
    if (parts > 1) {
      dk_sums = new_sums(parts, k, shape.kv_heads), dv_sums = new_sums(parts, k, shape.kv_heads);
      out.dk_sums = heads_of<float>(dk_sums, 0, d), out.dv_sums = heads_of<float>(dv_sums, 0, d);
    }
    const auto run = [&](auto kernel, size_t more_shared, Heads<float> dq) {
      launch(dim3(grid.x, grid.y, grid.z * unsigned(parts)), flash_threads, of_keys + more_shared, kernel, do_heads,
             q_heads, k_heads, v_heads, at<float>(lse), at<float>(delta), packing, group, shape.scale, out, dq,
             q.rows());
    };
    if (deterministic) {
      run(flash_dkv_kernel<D, false>, 0, {});
      launch(dim3(tiles_of(q.rows(), cu_q, flash_rows), unsigned(shape.heads)), flash_threads, shared(KEYS),
             flash_dq_kernel<D>, do_heads, q_heads, k_heads, v_heads, at<float>(lse), at<float>(delta), packing, group,
             shape.scale, dq_heads, q.rows());
    } else {
      dq_sums = new_sums(1, q, shape.heads);
      fill(dq_sums, 0);
      run(flash_dkv_kernel<D, true>, sizeof(bf16) * flash_rows * (QUERIES + 8), heads_of<float>(dq_sums, 0, d));
      add_up(dq_sums, shape.scale, dq_heads);
    }
    if (parts > 1) add_up(dk_sums, shape.scale, dk_heads), add_up(dv_sums, 1, dv_heads);
  });
}

}  // namespace vlm2vec::BACKEND
