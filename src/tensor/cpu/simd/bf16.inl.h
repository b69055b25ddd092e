// Products of bf16 numbers in hardware. An instruction multiplies pairs of neighbours in k and adds them in f32. Both
// operands are packed into tiles of 1 KiB: 16 lines (rows of A or columns of B) and 32 numbers along k.
//
//   tile of A: [line][pair of k][2]     tile of B: [pair of k][line][2]
//   panel:     [step of 32 numbers][two tiles: 32 lines]
//
// k is cut into equal blocks of at most KC, and a number of C sums the blocks in order: the order of its terms depends
// on k alone. What lies beyond the matrix is packed as 0.

constexpr int64_t step = 32, lines = 16, tile_size = lines * step, panel_lines = 2 * lines, panel_step = 2 * tile_size;
constexpr int64_t KC = BF16_KC, MC = 512, NC = 1024;
constexpr int64_t whole_a_size = 512 << 10;  // numbers that lie in L2 beside a panel of B

// C[rows, columns] = from + A·B for a panel of each, at most 32 × 32. Rows of `from` and C are *_stride floats apart;
// a stride of 0 repeats one row. Reads and writes whole tiles of 16 × 16.
struct Block {
  int64_t steps;
  const uint16_t *a, *b;
  int64_t rows, columns;
  const float* from;  // or null: 0
  int64_t from_stride;
  float* to;
  int64_t to_stride;
};
void block(const Block& t);  // the instruction set's own; in a thread between begin_blocks() and end_blocks()
void begin_blocks();
void end_blocks();

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t count_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

INLINE void store_pairs(uint16_t* to, V pairs) { *(UnalignedPairs*)to = pairs; }
// The 32 numbers of x and y as pairs (x[2i], x[2i + 1]) and (y[2i], y[2i + 1]).
INLINE V pairs_along(V x, V y) { return (V)_mm512_cvtne2ps_pbh(y, x); }
INLINE V load_along(const uint16_t* p) { return load_pairs(p); }
INLINE V load_along(const uint16_t* p, Part part) { return load_pairs(p, part); }
INLINE V load_along(const float* p) { return pairs_along(load(p), load(p + W)); }
INLINE V load_along(const float* p, Part part) {
  if (part.n > W) return pairs_along(load(p), load(p + W, Part{part.n - W}));
  return pairs_along(part.n == W ? load(p) : load(p, part), V{});
}
// Pairs (x[i], y[i]) of 16 numbers of two rows.
INLINE V pairs_across(H x, H y) { return (V)(__builtin_convertvector(x, U) | __builtin_convertvector(y, U) << 16); }
INLINE H load_across(const uint16_t* p) { return *(const UnalignedH*)p; }
INLINE H load_across(const uint16_t* p, Part part) {
  return (H)_mm256_maskz_loadu_epi16(__mmask16((1u << part.n) - 1), p);
}
INLINE H load_across(const float* p) { return (H)_mm512_cvtneps_pbh(load(p)); }
INLINE H load_across(const float* p, Part part) { return (H)_mm512_cvtneps_pbh(load(p, part)); }

// Packs up to 16 lines that lie along k; `step_size` numbers lie between tiles.
template <bool AS_B, class T>
void pack_along(const T* from, int64_t stride, int64_t count, int64_t k, uint16_t* to, int64_t step_size) {
  V v[W];
  for (; k > 0; k -= step, from += step, to += step_size) {
    if (k >= step && count == W) {
      UNROLL for (int i = 0; i < W; ++i) v[i] = load_along(from + i * stride);
    } else {
      const Part part{int(smaller(k, step))};
      for (int i = 0; i < W; ++i)
        v[i] = i >= count ? V{} : k >= step ? load_along(from + i * stride) : load_along(from + i * stride, part);
    }
    if (AS_B) transpose(v);
    UNROLL for (int i = 0; i < W; ++i) store_pairs(to + i * step, v[i]);
  }
}

// Packs up to 16 lines that lie across k, one row for each k.
template <bool AS_B, class T>
void pack_across(const T* from, int64_t stride, int64_t count, int64_t k, uint16_t* to, int64_t step_size) {
  V v[W];
  const auto row = [=](int64_t i) {
    return i >= k       ? H{}
           : count == W ? load_across(from + i * stride)
                        : load_across(from + i * stride, Part{int(count)});
  };
  for (int64_t first = 0; first < k; first += step, to += step_size) {
    UNROLL for (int i = 0; i < W; ++i) v[i] = pairs_across(row(first + 2 * i), row(first + 2 * i + 1));
    if (!AS_B) transpose(v);
    UNROLL for (int i = 0; i < W; ++i) store_pairs(to + i * step, v[i]);
  }
}

// Packs lines [0, count) as panels, each of `room` numbers. Lines lie along k or across it, `stride` numbers apart.
template <bool AS_B, class T>
void pack(const T* from, int64_t stride, bool along, int64_t count, int64_t k, uint16_t* to, int64_t room) {
  for (int64_t i = 0; i < count; i += lines) {
    const int64_t some = smaller(lines, count - i);
    uint16_t* const tile = to + i / panel_lines * room + i % panel_lines / lines * tile_size;
    if (along) pack_along<AS_B>(from + i * stride, stride, some, k, tile, panel_step);
    else pack_across<AS_B>(from + i, stride, some, k, tile, panel_step);
  }
}

// Runs the block; if it is not whole tiles, through `spare`, [32][32].
INLINE void run_block(Block t, float* spare) {
  if (t.rows % lines == 0 && t.columns % lines == 0) return block(t);
  float* const to = t.to;
  const int64_t stride = t.to_stride;
  if (t.from)
    for (int64_t r = 0; r < t.rows; ++r)
      for_lanes(t.columns, [&](int64_t c, auto part) {
        store(spare + r * panel_lines + c, load(t.from + r * t.from_stride + c, part));
      });
  if (t.from) t.from = spare, t.from_stride = panel_lines;
  t.to = spare, t.to_stride = panel_lines;
  block(t);
  for (int64_t r = 0; r < t.rows; ++r)
    for_lanes(t.columns,
              [&](int64_t c, auto part) { store(to + r * stride + c, load(spare + r * panel_lines + c), part); });
}

// Adds the products of packed panels to C's rows [m, m + mc) and columns [n, n + nc).
INLINE void run_panels(const GemmTask& g, int64_t m, int64_t mc, int64_t n, int64_t nc, bool first, int64_t steps,
                       int64_t room, const uint16_t* a, const uint16_t* b, float* spare) {
  const bool add = g.accumulate || !first;
  for (int64_t j = 0; j < nc; j += panel_lines)
    for (int64_t i = 0; i < mc; i += panel_lines) {
      float* const c = g.c + (m + i) * g.c_stride + n + j;
      const float* const bias = g.bias ? g.bias + n + j : nullptr;
      run_block({.steps = steps,
                 .a = a + i / panel_lines * room,
                 .b = b + j / panel_lines * room,
                 .rows = smaller(panel_lines, mc - i),
                 .columns = smaller(panel_lines, nc - j),
                 .from = add ? c : bias,
                 .from_stride = add ? g.c_stride : 0,
                 .to = c,
                 .to_stride = g.c_stride},
                spare);
    }
}

INLINE void add_bias(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  for (int64_t m = m0; m < m1; ++m) {
    float* const c = g.c + m * g.c_stride + n0;
    for_lanes(n1 - n0,
              [=](int64_t i, auto part) { store(c + i, load(c + i, part) + load(g.bias + n0 + i, part), part); });
  }
}

void gemm(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  if (m0 >= m1 || n0 >= n1) return;
  const auto *a = (const uint16_t*)g.a, *b = (const uint16_t*)g.b;
  // k = 0 makes one empty block, which writes the bias.
  const int64_t kc = g.k > 0 ? count_of(count_of(g.k, count_of(g.k, KC)), step) * step : 1;
  const int64_t k_blocks = g.k > 0 ? count_of(g.k, kc) : 1, room = count_of(kc, step) * panel_step;
  const int64_t m_blocks = count_of(m1 - m0, MC), block_size = count_of(smaller(m1 - m0, MC), panel_lines) * room;
  // If A fits into the cache, it is packed once for all k; the rows of a transposed B are then read from end to end.
  const bool whole_a = m_blocks == 1 && k_blocks * block_size <= whole_a_size;
  const int64_t nc_max = whole_a ? panel_lines : NC;
  const int64_t a_size = whole_a ? k_blocks * block_size : block_size;
  float* const spare = simd_scratch(panel_lines * panel_lines + (a_size + nc_max / panel_lines * room) / 2);
  uint16_t* const packed_a = (uint16_t*)(spare + panel_lines * panel_lines);
  uint16_t* const packed_b = packed_a + a_size;
  if (g.accumulate && g.bias) add_bias(g, m0, m1, n0, n1);
  begin_blocks();
  for (int64_t n = n0; n < n1; n += nc_max) {
    const int64_t nc = smaller(nc_max, n1 - n);
    for (int64_t k_block = 0; k_block < k_blocks; ++k_block) {
      const int64_t k0 = k_block * kc, k = smaller(kc, g.k - k0);
      pack<true>(b + (g.transpose_b ? n * g.b_stride + k0 : k0 * g.b_stride + n), g.b_stride, g.transpose_b, nc, k,
                 packed_b, room);
      for (int64_t m = m0; m < m1; m += MC) {
        const int64_t mc = smaller(MC, m1 - m);
        uint16_t* const block_a = packed_a + (whole_a ? k_block * block_size : 0);
        if (!(whole_a && n > n0))
          pack<false>(a + (g.transpose_a ? k0 * g.a_stride + m : m * g.a_stride + k0), g.a_stride, !g.transpose_a, mc,
                      k, block_a, room);
        run_panels(g, m, mc, n, nc, k_block == 0, count_of(k, step), room, block_a, packed_b, spare);
      }
    }
  }
  end_blocks();
}
