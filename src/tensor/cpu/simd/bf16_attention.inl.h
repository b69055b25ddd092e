// Attention as in attention.inl.h, its products in bf16: q, k, v and the exponentials are rounded. Sums are f32.

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
          scale_row(d, soften(a, i, k0, n, steps * step, s, a.lse[g * a.lse_stride + i], sums[g * a.nq + i]),
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

void attention_backward(const AttentionTask& a, const AttentionTaskGradient& b) {
  const AttentionRoom room(a);
  const int64_t d = a.head_dim, area = tile_queries * tile_keys, sums = tile_keys * room.columns;
  const int64_t heads = room.columns / panel_lines, key_panels = tile_keys / panel_lines,
                query_panels = tile_queries / panel_lines;
  float* const spare =
      simd_scratch(panel_lines * panel_lines + 2 * area + 2 * sums + a.group * a.nq + W +
                   (2 * (query_panels + key_panels) * room.along + 2 * heads * room.across_queries +
                    heads * room.across_keys + 2 * key_panels * room.across_queries + query_panels * room.across_keys) /
                       2);
  float *const p = spare + panel_lines * panel_lines, *const ds = p + area;  // [tile_queries][tile_keys]
  float *const dk = ds + area, *const dv = dk + sums;                        // [tile_keys][columns]
  // Factors of the products, named by what their lines lie along: q and do twice, k twice, v, p, ds twice.
  uint16_t *const q = (uint16_t*)(dv + sums), *const d_o = q + query_panels * room.along;
  uint16_t *const k = d_o + query_panels * room.along, *const v = k + key_panels * room.along;
  uint16_t *const q_across = v + key_panels * room.along, *const do_across = q_across + heads * room.across_queries;
  uint16_t *const k_across = do_across + heads * room.across_queries, *const p_across =
                                                                          k_across + heads * room.across_keys;
  uint16_t* const ds_across = p_across + key_panels * room.across_queries;
  uint16_t* const ds_along = ds_across + key_panels * room.across_queries;
  float* const delta = (float*)(ds_along + query_panels * room.across_keys);  // [group][nq]
  for (int g = 0; g < a.group; ++g) {
    if (b.dq) fill_zero(a.nq, d, b.dq + g * d, b.dq_stride);
    for (int64_t i = 0; i < a.nq; ++i) delta[g * a.nq + i] = delta_of(a, b, g, i);
  }
  begin_blocks();
  for (int64_t k0 = b.k_begin; k0 < b.k_end; k0 += tile_keys) {
    const int64_t n = smaller(tile_keys, b.k_end - k0);
    fill_zero(1, 2 * sums, dk, 0);
    pack<true>(a.k + k0 * a.k_stride, a.k_stride, true, n, d, k, room.along);
    pack<true>(a.v + k0 * a.v_stride, a.v_stride, true, n, d, v, room.along);
    pack<true>(a.k + k0 * a.k_stride, a.k_stride, false, d, n, k_across, room.across_keys);
    for (int g = 0; g < a.group; ++g)
      for (int64_t i0 = 0; i0 < a.nq; i0 += tile_queries) {
        const int64_t rows = smaller(tile_queries, a.nq - i0), seen = visible(a, i0 + rows - 1, k0, n);
        if (seen == 0 || passed(a, i0, k0, n) == n) continue;
        const float *const from_q = a.q + i0 * a.q_stride + g * d, *const from_do = b.d_o + i0 * b.do_stride + g * d;
        pack<false>(from_q, a.q_stride, true, rows, d, q, room.along);
        pack<false>(from_do, b.do_stride, true, rows, d, d_o, room.along);
        pack<true>(from_q, a.q_stride, false, d, rows, q_across, room.across_queries);
        pack<true>(from_do, b.do_stride, false, d, rows, do_across, room.across_queries);
        for (int64_t i = 0; i < rows; i += panel_lines) {
          const int64_t some = smaller(panel_lines, rows - i), at = i / panel_lines * room.along;
          scores_of(room, some, seen, q + at, k, p + i * tile_keys);
          scores_of(room, some, seen, d_o + at, v, ds + i * tile_keys);
        }
        for (int64_t r = 0; r < rows; ++r)
          soften_gradient(a, i0 + r, k0, n, count_of(seen, W) * W, a.lse[g * a.lse_stride + i0 + r],
                          delta[g * a.nq + i0 + r], p + r * tile_keys, ds + r * tile_keys);
        pack<false>(p, tile_keys, false, seen, rows, p_across, room.across_queries);
        pack<false>(ds, tile_keys, false, seen, rows, ds_across, room.across_queries);
        pack<false>(ds, tile_keys, true, rows, seen, ds_along, room.across_keys);
        for (int64_t c = 0; c < d; c += panel_lines) {
          const int64_t head = c / panel_lines, width = smaller(panel_lines, d - c);
          for (int64_t j = 0; b.dk && j < seen; j += panel_lines) {
            const int64_t some = smaller(panel_lines, seen - j), at = j / panel_lines * room.across_queries;
            float *const to_v = dv + j * room.columns + c, *const to_k = dk + j * room.columns + c;
            block({count_of(rows, step), p_across + at, do_across + head * room.across_queries, some, width, to_v,
                   room.columns, to_v, room.columns});
            block({count_of(rows, step), ds_across + at, q_across + head * room.across_queries, some, width, to_k,
                   room.columns, to_k, room.columns});
          }
          for (int64_t i = 0; b.dq && i < rows; i += panel_lines) {
            float* const to = b.dq + (i0 + i) * b.dq_stride + g * d + c;
            run_block({count_of(seen, step), ds_along + i / panel_lines * room.across_keys,
                       k_across + head * room.across_keys, smaller(panel_lines, rows - i), width, to, b.dq_stride, to,
                       b.dq_stride},
                      spare);
          }
        }
      }
    for (int64_t j = 0; b.dk && j < n; ++j)
      for_lanes(d, [=](int64_t c, auto part) {
        store(b.dk + (k0 + j) * b.dk_stride + c, load(dk + j * room.columns + c, part), part);
        store(b.dv + (k0 + j) * b.dv_stride + c, load(dv + j * room.columns + c, part), part);
      });
  }
  end_blocks();
}
