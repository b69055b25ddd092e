// The softmax of attention, a tile of keys at a time, with a running maximum and sum (Milakov and Gimelshein 2018).

constexpr int64_t tile_keys = 128, tile_queries = 64;

// Returns how many of the n keys from k0 on query i sees.
INLINE int64_t visible(const AttentionTask& a, int64_t i, int64_t k0, int64_t n) {
  if (!a.causal) return n;
  const int64_t seen = i + 1 + a.nk - a.nq - k0;
  return seen < 0 ? 0 : seen < n ? seen : n;
}

// Returns how many of the n keys from k0 on lie before query i's window.
INLINE int64_t passed(const AttentionTask& a, int64_t i, int64_t k0, int64_t n) {
  const int64_t before = a.window == 0 ? 0 : i + 1 + a.nk - a.nq - a.window - k0;
  return before < 0 ? 0 : before < n ? before : n;
}

INLINE void fill_zero(int64_t rows, int64_t columns, float* x, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    for_lanes(columns, [=](int64_t c, auto part) { store(x + r * stride + c, V{}, part); });
}

INLINE void scale_row(int64_t n, float factor, float* x) {
  if (factor == 1) return;
  for_lanes(n, [=](int64_t i, auto part) { store(x + i, splat(factor) * load(x + i, part), part); });
}

// Replaces query i's scores of a tile by factor(exp(scale·score − maximum)), and by 0 for keys up to `width` that it
// does not see. `factor` rounds as the product with v does: o is then a mean of v whose shares add up to 1, and the
// gradient of a score, a difference to that mean, keeps its digits. Updates the running maximum and sum, and returns
// the factor by which earlier sums shrink.
template <class F>
INLINE float soften(const AttentionTask& a, int64_t i, int64_t k0, int64_t n, int64_t width, float* s, float& maximum,
                    float& sum, F factor) {
  const int64_t seen = visible(a, i, k0, n), early = passed(a, i, k0, n);
  if (seen <= early) {
    fill_zero(1, width, s, 0);
    return 1;
  }
  for (int64_t j = 0; j < early; ++j) s[j] = -__builtin_inff();
  constexpr float none = -__builtin_inff();
  V top = splat(none);
  for_lanes(seen, [&](int64_t j, auto part) { top = max(select(load(s + j), none, part), top); });
  const float before = maximum, now = max_lanes(top) * a.scale;
  maximum = now > before ? now : before;
  const V shift = splat(maximum);
  V total{};
  int64_t j = 0;
  for_lanes(seen, [&](int64_t c, auto part) {
    const V e = factor(select(exp_of(fma(load(s + c), splat(a.scale), -shift)), 0, part));
    store(s + c, e);
    total += e;
    j = c + W;
  });
  for (; j < width; j += W) store(s + j, V{});
  const float shrink = sum == 0 || before == maximum ? 1 : exp_of(splat(before - maximum))[0];
  sum = sum * shrink + sum_lanes(total);
  return shrink;
}

// δ of query i of head g: Σ do·o over the head's columns. It is to be Σ p·(do·vᵀ) over the keys, from which it is
// taken: `factor` rounds do as that product does.
template <class F>
INLINE float delta_of(const AttentionTask& a, const AttentionTaskGradient& b, int g, int64_t i, F factor) {
  const float *d_o = b.d_o + i * b.do_stride + g * a.head_dim, *o = a.o + i * a.o_stride + g * a.head_dim;
  return sum_lanes(
      sum_over(a.head_dim, [=](int64_t c, auto part) { return factor(load(d_o + c, part)) * load(o + c, part); }));
}

// Replaces query i's scores p of a tile of keys by exp(scale·score − lse), and ds = do·vᵀ by p·(ds − δ)·scale. Both are
// 0 for keys up to `width` that it does not see.
INLINE void soften_gradient(const AttentionTask& a, int64_t i, int64_t k0, int64_t n, int64_t width, float lse,
                            float delta, float* p, float* ds) {
  const int64_t own = visible(a, i, k0, n), early = passed(a, i, k0, n);
  const V shift = splat(own == 0 ? 0 : lse), center = splat(delta);
  for (int64_t j = 0; j < width; j += W) {
    const I lanes = first_lanes(int(own - j)) & ~first_lanes(int(early - j));
    const V e = exp_of(fma(load(p + j), splat(a.scale), -shift));
    store(p + j, lanes ? e : V{});
    store(ds + j, lanes ? e * (load(ds + j) - center) * splat(a.scale) : V{});
  }
}
