// Attention of one sequence: o = softmax(scale·q kᵀ)·v by tiles of keys with a running maximum and sum (Milakov and
// Gimelshein 2018; Dao et al. 2022); only one tile of scores exists at a time. Tiles begin at the first key, and unseen
// keys add an exact 0: a query's result depends on its own keys only.

// C[rows, columns] (+)= A[rows, k]·B[k, columns]; t holds their addresses.
template <bool ROWS>
void product(int64_t rows, int64_t columns, int64_t k, const Tile& t) {
  const Panels panels(rows);
  for (int64_t j = 0; j < columns; j += NR)
    for (int64_t p = 0, m = 0; p < panels.count; m += panels.rows(p), ++p) {
      Tile part = t;
      part.a += ROWS ? m * t.a_step : m;
      part.b += j;
      part.c += m * t.c_step + j;
      run_tile<ROWS>(k, panels.rows(p), smaller(NR, columns - j), part);
    }
}

INLINE int64_t whole_vectors(int64_t n) { return count_of(n, W) * W; }

// x [rows, columns] → xᵀ [columns][tile_keys]; zeros fill the last vector of rows.
void transpose_tile(const float* x, int64_t stride, int64_t rows, int64_t columns, float* to) {
  for (int64_t r = 0; r < rows; r += W)
    pack_rows(x + r * stride, stride, int(smaller(W, rows - r)), columns, to + r, tile_keys);
}

void attention(const AttentionTask& a) {
  if (a.nq == 0) return;
  const int64_t d = a.head_dim;
  const Panels queries(a.nq);
  float* const keys = simd_scratch(d * tile_keys + MR * tile_keys + a.group * a.nq);  // kᵀ of the tile
  float* const scores = keys + d * tile_keys;                                         // [MR][tile_keys]
  float* const sums = scores + MR * tile_keys;                                        // [group][nq]
  for (int g = 0; g < a.group; ++g) {
    fill_zero(a.nq, d, a.o + g * d, a.o_stride);
    for (int64_t i = 0; i < a.nq; ++i) a.lse[g * a.lse_stride + i] = -__builtin_inff(), sums[g * a.nq + i] = 0;
  }
  for (int64_t k0 = 0; k0 < a.nk; k0 += tile_keys) {
    const int64_t n = smaller(tile_keys, a.nk - k0);
    transpose_tile(a.k + k0 * a.k_stride, a.k_stride, n, d, keys);
    for (int g = 0; g < a.group; ++g)
      for (int64_t block = 0, i0 = 0; block < queries.count; i0 += queries.rows(block), ++block) {
        const int64_t rows = queries.rows(block), seen = visible(a, i0 + rows - 1, k0, n), width = whole_vectors(seen);
        if (seen == 0 || passed(a, i0, k0, n) == n) continue;
        float* const o = a.o + i0 * a.o_stride + g * d;
        const float* const q = a.q + i0 * a.q_stride + g * d;
        product<true>(rows, width, d, {q, a.q_stride, keys, tile_keys, scores, tile_keys, false});
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t i = i0 + r;
          const float shrink = soften(a, i, k0, n, width, scores + r * tile_keys, a.lse[g * a.lse_stride + i],
                                      sums[g * a.nq + i], [](V x) { return x; });
          if (k0 > 0) scale_row(d, shrink, o + r * a.o_stride);
        }
        const float* const v = a.v + k0 * a.v_stride;
        product<true>(rows, d, seen, {scores, tile_keys, v, a.v_stride, o, a.o_stride, k0 > 0});
      }
  }
  for (int g = 0; g < a.group; ++g)
    for (int64_t i = 0; i < a.nq; ++i) {
      const float sum = sums[g * a.nq + i];
      if (sum == 0) continue;  // the query sees no key
      scale_row(d, 1 / sum, a.o + i * a.o_stride + g * d);
      a.lse[g * a.lse_stride + i] += __builtin_logf(sum);
    }
}

// With p = exp(s − lse):  dv = pᵀ·do,  ds = p·(do·vᵀ − δ)·scale,  dq = ds·k,  dk = dsᵀ·q.
void attention_backward(const AttentionTask& a, const AttentionTaskGradient& b) {
  const int64_t d = a.head_dim, area = tile_queries * tile_keys;
  float* const keys = simd_scratch(2 * d * tile_keys + 2 * area + a.group * a.nq);  // kᵀ of the tile
  float* const values = keys + d * tile_keys;                                       // vᵀ
  float *const p = values + d * tile_keys, *const ds = p + area;                    // [tile_queries][tile_keys]
  float* const delta = ds + area;                                                   // [group][nq]
  if (b.dk) {
    fill_zero(b.k_end - b.k_begin, d, b.dk + b.k_begin * b.dk_stride, b.dk_stride);
    fill_zero(b.k_end - b.k_begin, d, b.dv + b.k_begin * b.dv_stride, b.dv_stride);
  }
  for (int g = 0; g < a.group; ++g) {
    if (b.dq) fill_zero(a.nq, d, b.dq + g * d, b.dq_stride);
    for (int64_t i = 0; i < a.nq; ++i) delta[g * a.nq + i] = delta_of(a, b, g, i, [](V x) { return x; });
  }
  for (int64_t k0 = b.k_begin; k0 < b.k_end; k0 += tile_keys) {
    const int64_t n = smaller(tile_keys, b.k_end - k0);
    transpose_tile(a.k + k0 * a.k_stride, a.k_stride, n, d, keys);
    transpose_tile(a.v + k0 * a.v_stride, a.v_stride, n, d, values);
    for (int g = 0; g < a.group; ++g)
      for (int64_t i0 = 0; i0 < a.nq; i0 += tile_queries) {
        const int64_t rows = smaller(tile_queries, a.nq - i0), seen = visible(a, i0 + rows - 1, k0, n),
                      width = whole_vectors(seen);
        if (seen == 0 || passed(a, i0, k0, n) == n) continue;
        const float *q = a.q + i0 * a.q_stride + g * d, *d_o = b.d_o + i0 * b.do_stride + g * d;
        product<true>(rows, width, d, {q, a.q_stride, keys, tile_keys, p, tile_keys, false});
        product<true>(rows, width, d, {d_o, b.do_stride, values, tile_keys, ds, tile_keys, false});
        for (int64_t r = 0; r < rows; ++r)
          soften_gradient(a, i0 + r, k0, n, width, a.lse[g * a.lse_stride + i0 + r], delta[g * a.nq + i0 + r],
                          p + r * tile_keys, ds + r * tile_keys);
        if (b.dk) {
          float *const dk = b.dk + k0 * b.dk_stride, *const dv = b.dv + k0 * b.dv_stride;
          product<false>(seen, d, rows, {p, tile_keys, d_o, b.do_stride, dv, b.dv_stride, true});
          product<false>(seen, d, rows, {ds, tile_keys, q, a.q_stride, dk, b.dk_stride, true});
        }
        const float* const k = a.k + k0 * a.k_stride;
        if (b.dq)
          product<true>(rows, d, seen,
                        {ds, tile_keys, k, a.k_stride, b.dq + i0 * b.dq_stride + g * d, b.dq_stride, true});
      }
  }
}
