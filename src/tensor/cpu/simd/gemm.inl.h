// C (+)= op(A)·op(B) + bias by blocks (Goto and van de Geijn 2008): a strip of B, KC × NR, stays in the L1 cache, a
// block of A, MC × KC, in L2. An operand that is used often is packed, so that the innermost loop reads it
// sequentially; other operands are read in place.
//
//   packed A: [panel of at most MR rows][k][row of the panel]
//   packed B: [strip of NR columns][k][column of the strip]
//
// k is cut into equal blocks of at most KC, and a number of C sums the blocks in order: the order of its terms depends
// on k alone.

constexpr int64_t KC = 384, MC = 336, NC = 768;
constexpr int64_t whole_a_size = 256 << 10;  // floats that lie in L2 beside a strip of B
constexpr int64_t packed_rows = 32;          // rows packed at a time if the k lie far apart: few pages are read at once
constexpr int64_t pack_above = 200;          // packing an operand costs about as much as multiplying it by 20 numbers

// Packs W rows of bf16 into a strip of NR columns. Transposing pairs of numbers takes half the shuffles. Fixed
// distances between the stores and four pointers leave the compiler enough registers.
INLINE void store_transposed(V* pairs, float* to) {
  transpose(pairs);
  UNROLL for (int i = 0; i < W; ++i) {
    store(to + 2 * i * NR, first_of(pairs[i]));
    store(to + (2 * i + 1) * NR, second_of(pairs[i]));
  }
}
void pack_bf16_rows(const uint16_t* from, int64_t stride, int64_t k, float* to) {
  V v[W];
  const uint16_t* quad[W / 4];  // every fourth row
  UNROLL for (int i = 0; i < W / 4; ++i) quad[i] = from + 4 * i * stride;
  for (; k >= 2 * W; k -= 2 * W, to += 2 * W * NR) {
    UNROLL for (int i = 0; i < W; ++i) v[i] = load_pairs(quad[i / 4] + i % 4 * stride);
    UNROLL for (int i = 0; i < W / 4; ++i) quad[i] += 2 * W;
    store_transposed(v, to);
  }
  if (k == 0) return;
  float rest[2 * W * NR];
  UNROLL for (int i = 0; i < W; ++i) v[i] = load_pairs(quad[i / 4] + i % 4 * stride, Part{int(k)});
  store_transposed(v, rest);
  for (int i = 0; i < k; ++i) store(to + i * NR, load(rest + i * NR));
}

// Packs up to W rows that lie along k into to[k][·]. Each k writes W floats, `step` apart. If step < W, the next k
// overwrites the surplus, so `to` needs W spare floats at its end.
template <class T>
void pack_rows(const T* from, int64_t stride, int rows, int64_t k, float* to, int64_t step) {
  V v[W];
  for (; k >= W; k -= W, from += W) {
    if (rows == W) {
      UNROLL for (int i = 0; i < W; ++i) v[i] = load(from + i * stride);
    } else {
      UNROLL for (int i = 0; i < W; ++i) v[i] = i < rows ? load(from + i * stride) : V{};
    }
    transpose(v);
    UNROLL for (int i = 0; i < W; ++i, to += step) store(to, v[i]);
  }
  if (k == 0) return;
  for (int i = 0; i < W; ++i) v[i] = i < rows ? load(from + i * stride, Part{int(k)}) : V{};
  transpose(v);
  for (int i = 0; i < k; ++i, to += step) store(to, v[i]);
}

// Packs up to W columns that lie across k, one row for each k, into to[k][·].
template <class T>
void pack_columns(const T* from, int64_t stride, int columns, int64_t k, float* to, int64_t step) {
  if (columns == W)
    for (; k > 0; --k, from += stride, to += step) store(to, load(from));
  else
    for (; k > 0; --k, from += stride, to += step) store(to, load(from, Part{columns}));
}

INLINE bool is_bf16(const uint16_t*) { return true; }
INLINE bool is_bf16(const void*) { return false; }

// Packs the strips of columns [n0, n1) of B for k in [k0, k0 + k).
template <class T>
void pack_b(const T* b, const GemmTask& g, int64_t k0, int64_t k, int64_t n0, int64_t n1, float* to) {
  const int64_t chunk = g.transpose_b ? k : packed_rows;
  for (int64_t i = 0; i < k; i += chunk) {
    const int64_t some = smaller(chunk, k - i);
    for (int64_t n = n0; n < n1; n += NR) {
      const int64_t width = n1 - n > W * (NV - 1) ? NR : count_of(n1 - n, W) * W;
      for (int64_t v = 0; v < width; v += W) {
        const int lanes = int(smaller(W, n1 - n - v));
        float* const strip = to + (n - n0) * k + i * width + v;
        if (g.transpose_b && lanes == W && width == NR && is_bf16(b))
          pack_bf16_rows((const uint16_t*)b + (n + v) * g.b_stride + k0, g.b_stride, k, strip);
        else if (g.transpose_b) pack_rows(b + (n + v) * g.b_stride + k0, g.b_stride, lanes, k, strip, width);
        else pack_columns(b + (k0 + i) * g.b_stride + n + v, g.b_stride, lanes, some, strip, width);
      }
    }
  }
}

// Packs panels of A's rows from `first` on for k in [k0, k0 + k), each with the spare floats that pack_rows needs.
INLINE int64_t room_for_panel(int64_t k) { return count_of(MR * k, W) * W + W; }
template <class T>
void pack_a(const T* a, const GemmTask& g, int64_t k0, int64_t k, int64_t first, const Panels& panels, float* to) {
  const int64_t chunk = g.transpose_a ? packed_rows : k;
  for (int64_t i = 0; i < k; i += chunk) {
    int64_t m = first;
    for (int64_t p = 0; p < panels.count; ++p) {
      const int rows = panels.rows(p);
      float* const panel = to + p * room_for_panel(k) + i * rows;
      if (g.transpose_a)
        pack_columns(a + (k0 + i) * g.a_stride + m, g.a_stride, rows, smaller(chunk, k - i), panel, rows);
      else pack_rows(a + m * g.a_stride + k0, g.a_stride, rows, k, panel, rows);
      m += rows;
    }
  }
}

// Calls f(p) with p as a pointer to the stored type.
template <class F>
INLINE void as_stored(const void* p, Stored type, F f) {
  if (type == Stored::bf16) f((const uint16_t*)p);
  else if (type == Stored::f16) f((const Half*)p);
  else f((const float*)p);
}

void gemm(const GemmTask& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  if (m0 >= m1 || n0 >= n1) return;
  // Packs what cannot be read in place: an operand to be widened, a B to be transposed, rows so far apart that they
  // collide in the cache.
  const bool pack_a_first =
      n1 - n0 >= pack_above || g.a_type != Stored::f32 || (g.transpose_a ? g.a_stride > 1024 : g.a_stride % 256 == 0);
  const bool pack_b_first = m1 - m0 >= pack_above || g.transpose_b || g.b_type != Stored::f32 || g.b_stride > 1024;
  // k = 0 makes one empty block, which writes the bias.
  const int64_t kc = g.k > 0 ? count_of(g.k, count_of(g.k, KC)) : 1, k_blocks = g.k > 0 ? count_of(g.k, kc) : 1;
  const int64_t m_blocks = count_of(m1 - m0, MC);
  // If A fits into the cache, it is packed once for all k; the rows of a transposed B are then read from end to end.
  const int64_t block_size = count_of(smaller(m1 - m0, MC), MR) * room_for_panel(kc);
  const bool whole_a = g.transpose_b && m_blocks == 1 && k_blocks * block_size <= whole_a_size;
  const int64_t nc_max = whole_a ? NR : NC, size = whole_a ? k_blocks * block_size : (MC / MR + 1) * room_for_panel(KC);
  float* const packed_a = simd_scratch(size + (nc_max + NR) * KC);
  float* const packed_b = packed_a + size;
  for (int64_t n = n0; n < n1; n += nc_max) {
    const int64_t nc = smaller(nc_max, n1 - n);
    for (int64_t k_block = 0; k_block < k_blocks; ++k_block) {
      const int64_t k0 = k_block * kc, k = smaller(kc, g.k - k0);
      if (pack_b_first) as_stored(g.b, g.b_type, [&](auto b) { pack_b(b, g, k0, k, n, n + nc, packed_b); });
      for (int64_t m_block = 0; m_block < m_blocks; ++m_block) {
        const int64_t first = m0 + (m1 - m0) * m_block / m_blocks, last = m0 + (m1 - m0) * (m_block + 1) / m_blocks;
        const Panels panels(last - first);
        float* const block_a = packed_a + (whole_a ? k_block * block_size : 0);
        if (pack_a_first && !(whole_a && n > n0))
          as_stored(g.a, g.a_type, [&](auto a) { pack_a(a, g, k0, k, first, panels, block_a); });
        for (int64_t j = 0; j < nc; j += NR) {
          const int64_t columns = smaller(NR, nc - j);
          Tile t{};
          t.b = pack_b_first ? packed_b + j * k : (const float*)g.b + k0 * g.b_stride + n + j;
          t.b_step = pack_b_first ? count_of(columns, W) * W : g.b_stride;
          t.c_step = g.c_stride;
          t.add = g.accumulate || k_block > 0;
          t.bias = g.bias && k_block == k_blocks - 1 ? g.bias + n + j : nullptr;
          for (int64_t p = 0, m = first; p < panels.count; m += panels.rows(p), ++p) {
            const int64_t rows = panels.rows(p);
            t.c = g.c + m * g.c_stride + n + j;
            t.a = pack_a_first    ? block_a + p * room_for_panel(k)
                  : g.transpose_a ? (const float*)g.a + k0 * g.a_stride + m
                                  : (const float*)g.a + m * g.a_stride + k0;
            t.a_step = pack_a_first ? rows : g.a_stride;
            if (pack_a_first || g.transpose_a) run_tile<false>(k, rows, columns, t);
            else run_tile<true>(k, rows, columns, t);
          }
        }
      }
    }
  }
}
