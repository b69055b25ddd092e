// Attention as in attention.inl.h, its products in bf16: q, k, v and the exponentials are rounded. Sums are f32.

constexpr auto round_to_bf16 = [](V x) { return from_bf16((H)_mm512_cvtneps_pbh((__m512)x)); };

// Sizes of packed panels: lines along a head's columns, across a tile of keys, across a tile of queries.
struct AttentionRoom {
  int64_t steps, panels, columns, along, across_keys, across_queries;
  explicit AttentionRoom(const AttentionTask& a)
      : steps(count_of(a.head_dim, step)),
        panels(count_of(a.nq, panel_lines)),
        columns(count_of(a.head_dim, panel_lines) * panel_lines),
        along(steps * panel_step),
        across_keys(tile_keys / step * panel_step),
        across_queries(tile_queries / step * panel_step) {}
};

// s [rows, tile_keys] = q·kᵀ for a panel of queries and the first `seen` keys of a tile.
INLINE void scores_of(const AttentionRoom& room, int64_t rows, int64_t seen, const uint16_t* q, const uint16_t* k,
                      float* s) {
  for (int64_t j = 0; j < seen; j += panel_lines)
    block({room.steps, q, k + j / panel_lines * room.along, rows, smaller(panel_lines, seen - j), nullptr, 0, s + j,
           tile_keys});
}

void attention(const AttentionTask& a) {
  if (a.nq == 0) return;
  const AttentionRoom room(a);
  const int64_t d = a.head_dim, all = a.group * room.panels * panel_lines, values_size = room.columns / panel_lines;
  float* const o = simd_scratch(all * room.columns + all + panel_lines * tile_keys +
                                (all / panel_lines * room.along + tile_keys / panel_lines * room.along +
                                 values_size * room.across_keys + room.across_keys) /
                                    2);
  float *const scores = o + all * room.columns, *const sums = scores + panel_lines * tile_keys;
  uint16_t *const q = (uint16_t*)(sums + all), *const keys = q + all / panel_lines * room.along;
  uint16_t *const values = keys + tile_keys / panel_lines * room.along, *const shares =
                                                                            values + values_size * room.across_keys;
  fill_zero(1, all * room.columns, o, 0);
  for (int g = 0; g < a.group; ++g) {
    pack<false>(a.q + g * d, a.q_stride, true, a.nq, d, q + g * room.panels * room.along, room.along);
    for (int64_t i = 0; i < a.nq; ++i) a.lse[g * a.lse_stride + i] = -__builtin_inff(), sums[g * a.nq + i] = 0;
  }
  begin_blocks();
  for (int64_t k0 = 0; k0 < a.nk; k0 += tile_keys) {
    const int64_t n = smaller(tile_keys, a.nk - k0);
    pack<true>(a.k + k0 * a.k_stride, a.k_stride, true, n, d, keys, room.along);
    pack<true>(a.v + k0 * a.v_stride, a.v_stride, false, d, n, values, room.across_keys);
    for (int g = 0; g < a.group; ++g)
      for (int64_t i0 = 0; i0 < a.nq; i0 += panel_lines) {
        const int64_t rows = smaller(panel_lines, a.nq - i0), seen = visible(a, i0 + rows - 1, k0, n);
        if (seen == 0 || passed(a, i0, k0, n) == n) continue;
        const int64_t panel = g * room.panels + i0 / panel_lines, steps = count_of(seen, step);
        float* const sum = o + panel * panel_lines * room.columns;
        scores_of(room, rows, seen, q + panel * room.along, keys, scores);
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t i = i0 + r;
          float* const s = scores + r * tile_keys;
          scale_row(
              d, soften(a, i, k0, n, steps * step, s, a.lse[g * a.lse_stride + i], sums[g * a.nq + i], round_to_bf16),
              sum + r * room.columns);
          uint16_t* const to = shares + r / lines * tile_size + r % lines * step;
          for (int64_t j = 0; j < steps; ++j) store_pairs(to + j * panel_step, load_along(s + j * step));
        }
        for (int64_t c = 0; c < d; c += panel_lines)
          block({steps, shares, values + c / panel_lines * room.across_keys, rows, smaller(panel_lines, d - c), sum + c,
                 room.columns, sum + c, room.columns});
      }
  }
  end_blocks();
  for (int g = 0; g < a.group; ++g)
    for (int64_t i = 0; i < a.nq; ++i) {
      const float sum = sums[g * a.nq + i], factor = sum == 0 ? 0 : 1 / sum;  // 0: the query sees no key
      const float* const from = o + (g * room.panels * panel_lines + i) * room.columns;
      float* const to = a.o + i * a.o_stride + g * d;
      for_lanes(d, [=](int64_t c, auto part) { store(to + c, splat(factor) * load(from + c, part), part); });
      if (sum != 0) a.lse[g * a.lse_stride + i] += __builtin_logf(sum);
    }
}

// The work space of a backward: factors of its products, named by what their lines lie along or across; sums in f32.
struct BackwardRoom : AttentionRoom {
  static constexpr int64_t area = tile_queries * tile_keys, key_panels = tile_keys / panel_lines,
                           query_panels = tile_queries / panel_lines;
  int64_t heads = columns / panel_lines;
  float *spare, *p, *ds;  // [32][32], [tile_queries][tile_keys] twice
  float *dk, *dv;         // [tile_keys][columns]
  float* delta;           // [group][nq]
  uint16_t *q, *d_o, *q_across, *do_across;
  uint16_t *k, *v, *k_across;
  uint16_t *p_across, *ds_across, *ds_along;

  explicit BackwardRoom(const AttentionTask& a) : AttentionRoom(a) {
    const int64_t floats = panel_lines * panel_lines + 2 * area + 2 * tile_keys * columns;
    const int64_t numbers = 2 * (query_panels + key_panels) * along + heads * (2 * across_queries + across_keys) +
                            2 * key_panels * across_queries + query_panels * across_keys;
    float* next = simd_scratch(floats + numbers / 2 + a.group * a.nq);
    spare = next, next += panel_lines * panel_lines;
    p = next, ds = p + area, next += 2 * area;
    dk = next, dv = dk + tile_keys * columns, next += 2 * tile_keys * columns;
    uint16_t* packed = (uint16_t*)next;
    const auto take = [&](int64_t size) { return packed += size, packed - size; };
    q = take(query_panels * along), d_o = take(query_panels * along);
    q_across = take(heads * across_queries), do_across = take(heads * across_queries);
    k = take(key_panels * along), v = take(key_panels * along), k_across = take(heads * across_keys);
    p_across = take(key_panels * across_queries), ds_across = take(key_panels * across_queries);
    ds_along = take(query_panels * across_keys);
    delta = (float*)packed;
  }
};

// Computes p and ds of a tile of queries, packed in q and d_o, and the keys in k and v; packs them.
INLINE void pack_scores(const AttentionTask& a, const BackwardRoom& r, int g, int64_t i0, int64_t rows, int64_t k0,
                        int64_t n, int64_t seen) {
  for (int64_t i = 0; i < rows; i += panel_lines) {
    const int64_t some = smaller(panel_lines, rows - i), at = i / panel_lines * r.along;
    scores_of(r, some, seen, r.q + at, r.k, r.p + i * tile_keys);
    scores_of(r, some, seen, r.d_o + at, r.v, r.ds + i * tile_keys);
  }
  for (int64_t i = 0; i < rows; ++i)
    soften_gradient(a, i0 + i, k0, n, count_of(seen, W) * W, a.lse[g * a.lse_stride + i0 + i],
                    r.delta[g * a.nq + i0 + i], r.p + i * tile_keys, r.ds + i * tile_keys);
  pack<false>(r.p, tile_keys, false, seen, rows, r.p_across, r.across_queries);
  pack<false>(r.ds, tile_keys, false, seen, rows, r.ds_across, r.across_queries);
  pack<false>(r.ds, tile_keys, true, rows, seen, r.ds_along, r.across_keys);
}

// dv += pᵀ·do and dk += dsᵀ·q of the tile
INLINE void add_key_gradients(const BackwardRoom& r, int64_t d, int64_t rows, int64_t seen) {
  for (int64_t c = 0; c < d; c += panel_lines)
    for (int64_t j = 0; j < seen; j += panel_lines) {
      const int64_t head = c / panel_lines * r.across_queries, at = j / panel_lines * r.across_queries;
      const int64_t some = smaller(panel_lines, seen - j), width = smaller(panel_lines, d - c);
      float *const dv = r.dv + j * r.columns + c, *const dk = r.dk + j * r.columns + c;
      block({count_of(rows, step), r.p_across + at, r.do_across + head, some, width, dv, r.columns, dv, r.columns});
      block({count_of(rows, step), r.ds_across + at, r.q_across + head, some, width, dk, r.columns, dk, r.columns});
    }
}

// dq += ds·k of the tile
INLINE void add_query_gradient(const BackwardRoom& r, int64_t d, int64_t rows, int64_t seen, float* dq,
                               int64_t stride) {
  for (int64_t c = 0; c < d; c += panel_lines)
    for (int64_t i = 0; i < rows; i += panel_lines) {
      const uint16_t *const ds = r.ds_along + i / panel_lines * r.across_keys, *const k =
                                                                                   r.k_across +
                                                                                   c / panel_lines * r.across_keys;
      float* const to = dq + i * stride + c;
      run_block({count_of(seen, step), ds, k, smaller(panel_lines, rows - i), smaller(panel_lines, d - c), to, stride,
                 to, stride},
                r.spare);
    }
}

void attention_backward(const AttentionTask& a, const AttentionTaskGradient& b) {
  const BackwardRoom r(a);
  const int64_t d = a.head_dim;
  for (int g = 0; g < a.group; ++g) {
    if (b.dq) fill_zero(a.nq, d, b.dq + g * d, b.dq_stride);
    for (int64_t i = 0; i < a.nq; ++i) r.delta[g * a.nq + i] = delta_of(a, b, g, i, round_to_bf16);
  }
  begin_blocks();
  for (int64_t k0 = b.k_begin; k0 < b.k_end; k0 += tile_keys) {
    const int64_t n = smaller(tile_keys, b.k_end - k0);
    const float *const k = a.k + k0 * a.k_stride, *const v = a.v + k0 * a.v_stride;
    fill_zero(1, 2 * tile_keys * r.columns, r.dk, 0);
    pack<true>(k, a.k_stride, true, n, d, r.k, r.along);
    pack<true>(v, a.v_stride, true, n, d, r.v, r.along);
    pack<true>(k, a.k_stride, false, d, n, r.k_across, r.across_keys);
    for (int g = 0; g < a.group; ++g)
      for (int64_t i0 = 0; i0 < a.nq; i0 += tile_queries) {
        const int64_t rows = smaller(tile_queries, a.nq - i0), seen = visible(a, i0 + rows - 1, k0, n);
        if (seen == 0 || passed(a, i0, k0, n) == n) continue;
        const float *const q = a.q + i0 * a.q_stride + g * d, *const d_o = b.d_o + i0 * b.do_stride + g * d;
        pack<false>(q, a.q_stride, true, rows, d, r.q, r.along);
        pack<false>(d_o, b.do_stride, true, rows, d, r.d_o, r.along);
        pack<true>(q, a.q_stride, false, d, rows, r.q_across, r.across_queries);
        pack<true>(d_o, b.do_stride, false, d, rows, r.do_across, r.across_queries);
        pack_scores(a, r, g, i0, rows, k0, n, seen);
        if (b.dk) add_key_gradients(r, d, rows, seen);
        if (b.dq) add_query_gradient(r, d, rows, seen, b.dq + i0 * b.dq_stride + g * d, b.dq_stride);
      }
    for (int64_t j = 0; b.dk && j < n; ++j)
      for_lanes(d, [=](int64_t c, auto part) {
        store(b.dk + (k0 + j) * b.dk_stride + c, load(r.dk + j * r.columns + c, part), part);
        store(b.dv + (k0 + j) * b.dv_stride + c, load(r.dv + j * r.columns + c, part), part);
      });
  }
  end_blocks();
}
