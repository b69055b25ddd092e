// The innermost loop of all products; a tile of C stays in registers.
//
//   C[i, j] (+)= Σ_k A[i, k]·B[k, j] (+ bias[j])      i < R, j < N vectors, of which the last may have fewer lanes
//
// A number of C is a chain of fused multiply-adds over k from 0 on, the same in tiles of every shape.

#if SIMD_LANES == 16
constexpr int MR = 14, NV = 2;  // 28 of 32 registers accumulate
#elif SIMD_LANES == 8
constexpr int MR = 6, NV = 2;  // 12 of 16
#else
constexpr int MR = 4, NV = 2;  // 8 of 16: without a fused multiply-add the product needs a register too
#endif
static_assert(MR <= W, "a panel of A is packed from one group of W rows");
constexpr int NR = NV * W;

// The numbers of a row of B are adjacent; rows are b_step apart. If ROWS, the rows of A are a_step apart. Otherwise its
// columns are a_step apart and the numbers of a column adjacent, as in a transposed matrix or a packed panel.
struct Tile {
  const float* a;
  int64_t a_step;
  const float* b;
  int64_t b_step;
  float* c;
  int64_t c_step;
  bool add;
  const float* bias;  // or null
  int last;           // lanes of the last vector: W unless RAGGED
};
template <int R, int N, bool ROWS, bool RAGGED>
__attribute__((noinline)) void tile(int64_t k, const Tile& t) {
  V sum[R][N];
  UNROLL for (int i = 0; i < R; ++i) { UNROLL for (int j = 0; j < N; ++j) sum[i][j] = V{}; }
  const Part part{t.last};
  const float *a = t.a, *b = t.b;
  const int64_t a_step = t.a_step, b_step = t.b_step;
  const float* quad[4];  // every fourth row; addressing modes reach the three rows between
  UNROLL for (int i = 0; i < 4; ++i) quad[i] = a + 4 * i * a_step;
  for (int64_t i = 0; i < k; ++i, b += b_step) {
    V row[N];
    UNROLL for (int j = 0; j < N; ++j) row[j] = RAGGED && j == N - 1 ? load(b + j * W, part) : load(b + j * W);
    UNROLL for (int r = 0; r < R; ++r) {
      const V factor = splat(ROWS ? quad[r / 4][r % 4 * a_step] : a[r]);
      UNROLL for (int j = 0; j < N; ++j) sum[r][j] = fma(factor, row[j], sum[r][j]);
    }
    if (ROWS) {
      UNROLL for (int q = 0; q < 4; ++q) quad[q] += 1;
    } else {
      a += a_step;
    }
  }
  float* c = t.c;
  UNROLL for (int i = 0; i < R; ++i, c += t.c_step) {
    UNROLL for (int j = 0; j < N; ++j) {
      float* to = c + j * W;
      V x = sum[i][j];
      if (RAGGED && j == N - 1) {
        if (t.add) x += load(to, part);
        if (t.bias) x += load(t.bias + j * W, part);
        store(to, x, part);
      } else {
        if (t.add) x += load(to);
        if (t.bias) x += load(t.bias + j * W);
        store(to, x);
      }
    }
  }
}

typedef void (*TileFunction)(int64_t, const Tile&);
template <bool ROWS, bool RAGGED, int... i>
struct TileTable {
  static constexpr TileFunction by_shape[] = {&tile<i / NV + 1, i % NV + 1, ROWS, RAGGED>...};
};
template <bool ROWS, bool RAGGED, int n>
struct TileTableOf {
  using type = TileTable<ROWS, RAGGED, __integer_pack(n)...>;
};

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t count_of(int64_t n, int64_t size) { return (n + size - 1) / size; }  // blocks of `size` that cover n

// At most MR rows, at most NR columns.
template <bool ROWS>
INLINE void run_tile(int64_t k, int64_t rows, int64_t columns, Tile& t) {
  const int64_t vectors = count_of(columns, W), shape = (rows - 1) * NV + vectors - 1;
  t.last = int(columns - (vectors - 1) * W);
  if (t.last == W) TileTableOf<ROWS, false, MR * NV>::type::by_shape[shape](k, t);
  else TileTableOf<ROWS, true, MR * NV>::type::by_shape[shape](k, t);
}

// Splits rows [0, rows) into panels of nearly equal height, so that no panel is almost empty.
struct Panels {
  int64_t count, height, taller;  // the first `taller` panels have one row more
  explicit Panels(int64_t rows) : count(count_of(rows, MR)), height(rows / count), taller(rows % count) {}
  int rows(int64_t i) const { return int(height + (i < taller)); }
};
