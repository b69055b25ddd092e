// InfoNCE on tensor cores: the sums of infonce.cu, for f32.
//
// exp multiplies the error of a score, so scores must have the digits of f32. Three numbers of bf16 stand for one of
// f32, x = x₁ + x₂ + x₃ with eight bits each, and six products of tensor cores for one; the other three are too small:
//
//   q·t ≈ q₁·t₁ + (q₁·t₂ + q₂·t₁) + (q₁·t₃ + q₂·t₂ + q₃·t₁)
//
// A sum of 64 columns is added to the score by an ordinary addition, which rounds; a tensor core cuts off.
//
//             128 targets            A block has 8 warps and 128 × 128 scores, a warp 32 × 64: 2 × 8 C fragments.
//           ┌──────┬──────┐          32 columns of all parts lie in shared memory. There are two such stages: while
//       128 │ warp │ warp │          the warps multiply one, cp.async brings the next.
//   queries │  0   │  1   │
//           ├──────┼──────┤          The forward walks along a stripe of targets. Each lane keeps its own greatest
//           │  2   │  3   │          score and sum; lanes meet once, at the end. The backward fills a panel of at most
//           │      …      │          2,048 × 2,048 gradients of scores, 16 MiB that stay in the L2 cache, and
//           └──────┴──────┘          multiplies it by the targets and the queries.
#include "kernels/infonce.h"
#include "kernels/tensor_core.h"
#include "tensor/infonce_memory.h"

namespace vlm2vec::BACKEND {
namespace {

using namespace infonce_sizes;
constexpr int threads = 256, pitch = chunk + 8, warp_rows = 32, warp_columns = 64;
static_assert(sizeof(Running<float>) == state_bytes);

// Rows as PARTS numbers of bf16 each, [rows, PARTS, columns]; columns are a multiple of a chunk, the last ones zeros.
struct Split {
  const bf16* x;
  int rows, columns;
};
template <int PARTS>
__global__ void __launch_bounds__(threads)
    split_kernel(const float* __restrict__ x, int64_t rows, int columns, int padded, bf16* __restrict__ y) {
  const int64_t e = int64_t(blockIdx.x) * threads + threadIdx.x, row = e / padded;
  const int column = int(e % padded);
  if (row >= rows) return;
  float rest = column < columns ? x[row * columns + column] : 0;
  UNROLL for (int part = 0; part < PARTS; ++part) {
    const bf16 rounded(rest);
    y[(row * PARTS + part) * padded + column] = rounded;
    rest -= float(rounded);
  }
}

// A chunk of a block's queries and of its targets: for each part a tile of 128 rows.
template <int PARTS>
struct Stage {
  bf16* first;
  static constexpr int size = 2 * PARTS * side * pitch;
  __device__ Tile queries(int part) const { return {first + part * side * pitch, pitch}; }
  __device__ Tile targets(int part) const { return {first + (PARTS + part) * side * pitch, pitch}; }
  __device__ static void copy(const Tile& to, const Split& from, int part, int row0, int column0) {
    // A row has four times 16 bytes. Eight threads write to a row and to the fourth after it: to different banks.
    constexpr int rows = threads / 4;
    const int t = int(threadIdx.x), lane_row = t / 32 * 8 + t / 4 % 2 * 4 + t / 8 % 4, column = t % 4 * 8;
    UNROLL for (int step = 0; step < side / rows; ++step) {
      const int row = step * rows + lane_row;
      const bool valid = row0 + row < from.rows;
      const int64_t at = (int64_t(valid ? row0 + row : 0) * PARTS + part) * from.columns + column0 + column;
      copy_async(to.at(row, column), from.x + at, valid);
    }
  }
  __device__ void copy(const Split& q, const Split& t, int i0, int j0, int column0) const {
    UNROLL for (int part = 0; part < PARTS; ++part) {
      copy(queries(part), q, part, i0, column0);
      copy(targets(part), t, part, j0, column0);
    }
  }
};

// A warp's scores: [m][n][e] has row 16 m + lane / 4 + 8 (e / 2), column 8 n + 2 (lane % 4) + e % 2.
using WarpScores = float[warp_rows / 16][warp_columns / 8][4];
__device__ int warp_row() { return int(threadIdx.x) / 64 * warp_rows; }
__device__ int warp_column() { return int(threadIdx.x) / 32 % 2 * warp_columns; }

// The small products first.
template <int PARTS>
__device__ void add_products(WarpScores& sum, const Stage<PARTS>& stage) {
  UNROLL for (int k = 0; k < chunk; k += 16) {
    uint32_t a[PARTS][warp_rows / 16][4];
    UNROLL for (int part = 0; part < PARTS; ++part)
      UNROLL for (int m = 0; m < warp_rows / 16; ++m)
        stage.queries(part).load_a(a[part][m], warp_row() + 16 * m, k);
    UNROLL for (int n = 0; n < warp_columns / 8; n += 2) {
      uint32_t b[PARTS][4];
      UNROLL for (int part = 0; part < PARTS; ++part) stage.targets(part).load_b(b[part], warp_column() + 8 * n, k);
      UNROLL for (int m = 0; m < warp_rows / 16; ++m)
        UNROLL for (int half = 0; half < 2; ++half) {
          float(&c)[4] = sum[m][n + half];
          UNROLL for (int order = PARTS - 1; order >= 0; --order)
            UNROLL for (int part = order; part >= 0; --part)
              multiply(c, a[part][m], b[order - part][2 * half], b[order - part][2 * half + 1]);
        }
    }
  }
}

__device__ void move_into(WarpScores& sum, WarpScores& part) {
  UNROLL for (int m = 0; m < warp_rows / 16; ++m)
    UNROLL for (int n = 0; n < warp_columns / 8; ++n)
      UNROLL for (int e = 0; e < 4; ++e) sum[m][n][e] += part[m][n][e], part[m][n][e] = 0;
}

// Calls use(q·t of the warp, first target of the tile) for the tiles of targets [j_begin, j_end), one after another.
template <int PARTS, class Use>
__device__ void for_each_tile(const Split& q, const Split& t, int i0, int j_begin, int j_end, Use use) {
  bf16* const stages = dynamic_shared<bf16>();
  const auto stage = [=](int number) { return Stage<PARTS>{stages + number % 2 * Stage<PARTS>::size}; };
  stage(0).copy(q, t, i0, j_begin, 0);
  commit_copies();
  int step = 0;
  for (int j0 = j_begin; j0 < j_end; j0 += side) {
    WarpScores sum = {}, part = {};
    for (int column = 0; column < q.columns; column += chunk, ++step) {
      wait_for_copies();
      __syncthreads();  // the stage is here for all threads, and nobody reads the other one any more
      const bool ends = column + chunk == q.columns;
      if (!ends || j0 + side < j_end)
        stage(step + 1).copy(q, t, i0, ends ? j0 + side : j0, ends ? 0 : column + chunk);
      commit_copies();
      add_products(part, stage(step));
      if (ends || column % (2 * chunk)) move_into(sum, part);
    }
    use(sum, j0);
  }
}

// What a lane knows of its rows: r = 2 m + h is row 16 m + lane / 4 + 8 h of its warp.
constexpr int lane_rows = warp_rows / 8;
__device__ int lane_row(int r) { return warp_row() + 16 * (r / 2) + int(threadIdx.x) % 32 / 4 + 8 * (r % 2); }
__device__ int lane_column(int n, int e) { return warp_column() + 8 * n + 2 * (int(threadIdx.x) % 4) + e; }

// Takes the scores of a row's lane into its running state; −∞ stands for targets that do not count.
template <int N>
__device__ void take(Running<float>& state, float (&score)[N][2], int j0) {
  float top = state.top;
  UNROLL for (int n = 0; n < N; ++n)
    UNROLL for (int e = 0; e < 2; ++e) {
      if (score[n][e] > top) state.best = j0 + lane_column(n, e);
      top = max(top, score[n][e]);
    }
  const float base = top == -INFINITY ? 0 : top;
  state.sum *= exp(state.top - base);
  UNROLL for (int n = 0; n < N; ++n) UNROLL for (int e = 0; e < 2; ++e) state.sum += exp(score[n][e] - base);
  state.top = top;
}

// One block per 128 queries and stripe of targets. Writes the stripe's state of each query to parts[stripe, query], and
// the score of its label, if the stripe has it.
template <int PARTS>
__global__ void __launch_bounds__(threads, 1)
    infonce_tiles_kernel(Split q, Split t, Matching matching, float inverse_tau, int stripe,
                         Running<float>* __restrict__ parts, float* __restrict__ right) {
  const int i0 = int(blockIdx.x) * side, j_begin = int(blockIdx.y) * stripe, j_end = min(t.rows, j_begin + stripe);
  Running<float> states[lane_rows];
  for_each_tile<PARTS>(q, t, i0, j_begin, j_end, [&](const WarpScores& sum, int j0) {
    UNROLL for (int r = 0; r < lane_rows; ++r) {
      const int i = i0 + lane_row(r);
      if (i >= q.rows) continue;
      const int label = matching.labels[i];
      float score[warp_columns / 8][2];
      UNROLL for (int n = 0; n < warp_columns / 8; ++n)
        UNROLL for (int e = 0; e < 2; ++e) {
          const int j = j0 + lane_column(n, e);
          score[n][e] = sum[r / 2][n][r % 2 * 2 + e] * inverse_tau;
          if (j == label) right[i] = score[n][e];
          if (j >= t.rows || !matching.counts(i, j)) score[n][e] = -INFINITY;
        }
      take(states[r], score, j0);
    }
  });

  // Four lanes share a row, and two warps.
  SHARED(Running<float>, others, [side]);
  UNROLL for (Running<float>& state : states)
    UNROLL for (int bits = 1; bits < 4; bits *= 2)
      state.add({__shfl_xor_sync(~0u, state.top, bits), __shfl_xor_sync(~0u, state.sum, bits),
                 __shfl_xor_sync(~0u, state.best, bits)});
  const bool writes = threadIdx.x % 4 == 0, is_left = warp_column() == 0;
  UNROLL for (int r = 0; r < lane_rows; ++r)
    if (writes && !is_left) others[lane_row(r)] = states[r];
  __syncthreads();
  UNROLL for (int r = 0; r < lane_rows; ++r) {
    const int i = i0 + lane_row(r);
    if (!writes || !is_left || i >= q.rows) continue;
    states[r].add(others[lane_row(r)]);
    parts[int64_t(blockIdx.y) * q.rows + i] = states[r];
  }
}

__global__ void __launch_bounds__(threads)
    infonce_join_kernel(const Running<float>* __restrict__ parts, int stripes, const float* __restrict__ right,
                        int queries, int targets, float* loss, float* lse, int32_t* best) {
  const int i = int(blockIdx.x) * threads + int(threadIdx.x);
  if (i >= queries) return;
  Running<float> state;
  for (int stripe = 0; stripe < stripes; ++stripe) state.add(parts[int64_t(stripe) * queries + i]);
  state.finish(i, right[i], targets, loss, lse, best);
}

// The gradients of the scores of queries [i_begin, i_end) and targets [j_begin, j_end), ds [i_end − i_begin, j_end −
// j_begin]: ds_ij = dloss_i / τ · (exp(s_ij − lse_i) − [j = label(i)]), 0 where j does not count. One block per tile.
template <int PARTS>
__global__ void __launch_bounds__(threads, 1)
    infonce_panel_kernel(Split q, Split t, Matching matching, float inverse_tau, const float* __restrict__ dloss,
                         const float* __restrict__ lse, int i_begin, int i_end, int j_begin, int j_end,
                         float* __restrict__ ds) {
  const int i0 = i_begin + int(blockIdx.y) * side, first = j_begin + int(blockIdx.x) * side, columns = j_end - j_begin;
  for_each_tile<PARTS>(q, t, i0, first, first + 1, [&](const WarpScores& sum, int j0) {
    UNROLL for (int r = 0; r < lane_rows; ++r) {
      const int i = i0 + lane_row(r);
      if (i >= i_end) continue;
      const int label = matching.labels[i];
      const float factor = dloss[i] * inverse_tau, shift = lse[i];
      float* const row = ds + int64_t(i - i_begin) * columns - j_begin;
      UNROLL for (int n = 0; n < warp_columns / 8; ++n) {
        const int j = j0 + lane_column(n, 0);
        float g[2];
        UNROLL for (int e = 0; e < 2; ++e) {
          const float s = sum[r / 2][n][r % 2 * 2 + e] * inverse_tau;
          const bool counts = j + e < j_end && matching.counts(i, j + e);
          g[e] = factor * ((counts ? exp(s - shift) : 0) - float(j + e == label));
        }
        if (columns % 2 == 0 && j < j_end) store_pair(row + j, g[0], g[1]);
        else
          UNROLL for (int e = 0; e < 2; ++e)
            if (j + e < j_end) row[j + e] = g[e];
      }
    }
  });
}

struct SplitTensor {
  Tensor x;
  Split split;
};
template <int PARTS>
SplitTensor split(const Tensor& x) {
  const int padded = int(rounded_up(x.columns(), chunk));
  const Tensor y({x.rows(), PARTS * padded}, DType::bf16, x.device());
  launch(blocks(x.rows() * padded, threads), threads, 0, split_kernel<PARTS>, at<float>(x), x.rows(), x.columns(),
         padded, at<bf16>(y));
  return {y, {at<bf16>(y), int(x.rows()), padded}};
}
template <int PARTS>
constexpr size_t stages_bytes = 2 * sizeof(bf16) * Stage<PARTS>::size;

template <int PARTS>
void run_forward(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
                 const Tensor& loss, const Tensor& lse, const Tensor& best) {
  const SplitTensor queries = split<PARTS>(q), targets = split<PARTS>(t);
  const int64_t targets_each = stripe(t.rows());
  const unsigned stripes = blocks(t.rows(), int(targets_each));
  const Tensor parts({stripes * q.rows(), state_bytes}, DType::u8, q.device());
  const Tensor right({q.rows()}, DType::f32, q.device());
  auto* const states = reinterpret_cast<Running<float>*>(at<uint8_t>(parts));
  launch(dim3(blocks(q.rows(), side), stripes), threads, stages_bytes<PARTS>, infonce_tiles_kernel<PARTS>,
         queries.split, targets.split, matching_of(labels, groups), inverse_tau, targets_each, states,
         at<float>(right));
  launch(blocks(q.rows(), threads), threads, 0, infonce_join_kernel, states, stripes, at<float>(right), q.rows(),
         t.rows(), at<float>(loss), at<float>(lse), at<int32_t>(best));
}

// Per panel: dq += ds t,   dt += dsᵀ q
template <int PARTS>
void run_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups,
                  const Tensor& lse, double inverse_tau, const Tensor& dq, const Tensor& dt) {
  const SplitTensor queries = split<PARTS>(q), targets = split<PARTS>(t);
  const Tensor panel({std::min(panel_side, q.rows()) * std::min(panel_side, t.rows())}, DType::f32, q.device());
  for (int64_t i = 0; i < q.rows(); i += panel_side)
    for (int64_t j = 0; j < t.rows(); j += panel_side) {
      const int64_t i_end = std::min(i + panel_side, q.rows()), j_end = std::min(j + panel_side, t.rows());
      const Tensor ds = panel.rows(0, (i_end - i) * (j_end - j)).view({i_end - i, j_end - j});
      launch(dim3(blocks(j_end - j, side), blocks(i_end - i, side)), threads, stages_bytes<PARTS>,
             infonce_panel_kernel<PARTS>, queries.split, targets.split, matching_of(labels, groups), inverse_tau,
             at<float>(dloss), at<float>(lse), i, i_end, j, j_end, at<float>(ds));
      matmul(ds, t.rows(j, j_end), Tensor(), {.accumulate = j > 0}, dq.rows(i, i_end));
      matmul(ds, q.rows(i, i_end), Tensor(), {.transpose_a = true, .accumulate = i > 0}, dt.rows(j, j_end));
    }
}

}  // namespace

void infonce_tiles(const Tensor& q, const Tensor& t, const Tensor& labels, const Tensor& groups, double inverse_tau,
                   bool bf16_scores, const Tensor& loss, const Tensor& lse, const Tensor& best) {
  (bf16_scores ? run_forward<1> : run_forward<3>)(q, t, labels, groups, inverse_tau, loss, lse, best);
}
void infonce_tiles_backward(const Tensor& dloss, const Tensor& q, const Tensor& t, const Tensor& labels,
                            const Tensor& groups, const Tensor& lse, double inverse_tau, bool bf16_scores,
                            const Tensor& dq, const Tensor& dt) {
  (bf16_scores ? run_backward<1> : run_backward<3>)(dloss, q, t, labels, groups, lse, inverse_tau, dq, dt);
}

}  // namespace vlm2vec::BACKEND
