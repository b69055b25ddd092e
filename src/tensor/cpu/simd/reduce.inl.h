// Sums and maxima. Long sums add blocks of f32 lanes in f64; column sums add blocks of rows.

constexpr int64_t block_size = 1024, block_rows = 64;

template <class F>
INLINE double blockwise_sum(int64_t n, F f) {
  double sum = 0;
  for (int64_t i = 0; i < n; i += block_size)
    sum += double(sum_lanes(
        sum_over(n - i < block_size ? n - i : block_size, [=](int64_t j, auto part) { return f(i + j, part); })));
  return sum;
}
double dot(int64_t n, const float* x, const float* y) {
  return blockwise_sum(n, [=](int64_t i, auto part) { return load(x + i, part) * load(y + i, part); });
}
double sum_of_squares(int64_t n, const float* x) { return dot(n, x, x); }

double sum_exp(int64_t n, const float* x, float shift) {
  return blockwise_sum(n,
                       [=](int64_t i, auto part) { return select(exp_of(load(x + i, part) - splat(shift)), 0, part); });
}
float max(int64_t n, const float* x) {
  V m = splat(-__builtin_inff());
  for_lanes(n, [&](int64_t i, auto part) { m = max(select(load(x + i, part), -__builtin_inff(), part), m); });
  return max_lanes(m);
}

// sums[c] += Σ_r f(r, c), in blocks of rows; strips of four vectors stay in registers.
template <class F>
INLINE void sum_rows(int64_t rows, int64_t columns, float* sums, F f) {
  for (int64_t r0 = 0; r0 < rows; r0 += block_rows) {
    const int64_t r1 = rows - r0 < block_rows ? rows : r0 + block_rows;
    int64_t c = 0;
    for (; c + 4 * W <= columns; c += 4 * W) {
      V s[4] = {};
      for (int64_t r = r0; r < r1; ++r) {
        UNROLL for (int j = 0; j < 4; ++j) s[j] += f(r, c + j * W, Whole{});
      }
      UNROLL for (int j = 0; j < 4; ++j) store(sums + c + j * W, load(sums + c + j * W) + s[j]);
    }
    for_lanes(columns - c, [&](int64_t i, auto part) {
      V s{};
      for (int64_t r = r0; r < r1; ++r) s += f(r, c + i, part);
      store(sums + c + i, load(sums + c + i, part) + s, part);
    });
  }
}
void column_sums(int64_t rows, int64_t columns, const float* x, int64_t x_stride, float* sums) {
  sum_rows(rows, columns, sums, [=](int64_t r, int64_t c, auto part) { return load(x + r * x_stride + c, part); });
}
