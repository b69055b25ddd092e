// Element-wise sums, products, conversions, dropout and the optimiser's step.

void add(int64_t n, const float* x, const float* y, float* z) {
  for_lanes(n, [=](int64_t i, auto part) { store(z + i, load(x + i, part) + load(y + i, part), part); });
}
void add_to(int64_t n, const float* x, float* y) { add(n, y, x, y); }
void multiply(int64_t n, const float* x, const float* y, float* z) {
  for_lanes(n, [=](int64_t i, auto part) { store(z + i, load(x + i, part) * load(y + i, part), part); });
}
void scale(int64_t n, float factor, const float* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, splat(factor) * load(x + i, part), part); });
}
void widen(int64_t n, const uint16_t* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, load(x + i, part), part); });
}
void widen_f16(int64_t n, const uint16_t* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, load((const Half*)x + i, part), part); });
}
void narrow(int64_t n, const float* x, uint16_t* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, load(x + i, part), part); });
}

// Philox4x32-10 for W / 2 blocks of four words, one in each 64-bit lane; only the lower halves of lanes count.
typedef uint64_t Q __attribute__((vector_size(W * 4)));
#if defined(__AVX512F__)
INLINE Q wide_product(Q a, Q b) { return (Q)_mm512_maskz_mul_epu32(__mmask8(-1), (__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
INLINE Q wide_product(Q a, Q b) { return (Q)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
INLINE Q wide_product(Q a, Q b) { return (Q)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#endif
template <int... lane>
INLINE Q count_lanes(Lanes<lane...>) {
  return Q{lane...};
}
// Lanes of a and b in turn, from lane `begin` of each.
template <int begin, int... lane>
INLINE U zip(Q a, Q b, Lanes<lane...>) {
  return (U)__builtin_shufflevector(a, b, (lane % 2 * (W / 2) + begin + lane / 2)...);
}

void dropout(int64_t n, const uint32_t* key, uint64_t row, const float* x, float p, float kept, float* y) {
  constexpr typename LanesOf<W / 2>::type lanes{};
  const auto drop = [=](U words, int64_t i, auto part) {
    const V uniform = __builtin_convertvector((I)(words >> 8), V) * 0x1p-24f;
    store(y + i, load(x + i, part) * (uniform >= splat(p) ? splat(kept) : V{}), part);
  };
  for (int64_t i = 0; i < n; i += 2 * W) {
    Q c[4] = {Q{} + row, Q{} + (row >> 32), count_lanes(lanes) + uint64_t(i / 4), Q{}};
    uint32_t k0 = key[0], k1 = key[1];
    UNROLL for (int round = 0; round < 10; ++round) {
      const Q p0 = wide_product(c[0], Q{} + 0xD2511F53u), p1 = wide_product(c[2], Q{} + 0xCD9E8D57u);
      c[0] = p1 >> 32 ^ c[1] ^ k0, c[1] = p1;
      c[2] = p0 >> 32 ^ c[3] ^ k1, c[3] = p0;
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    const Q lower = (c[0] & 0xFFFFFFFFu) | c[1] << 32, upper = (c[2] & 0xFFFFFFFFu) | c[3] << 32;
    const U first = zip<0>(lower, upper, lanes), second = zip<W / 4>(lower, upper, lanes);
    if (i + 2 * W <= n) {
      drop(first, i, Whole{}), drop(second, i + W, Whole{});
    } else if (i + W < n) {
      drop(first, i, Whole{}), drop(second, i + W, Part{int(n - i - W)});
    } else if (i + W == n) {
      drop(first, i, Whole{});
    } else {
      drop(first, i, Part{int(n - i)});
    }
  }
}

// AdamW (Loshchilov and Hutter 2019). The factors are computed in f64, as in torch.
void adamw(int64_t n, float* p, const float* g, float* m, float* v, const AdamWRates& r) {
  const float decay = float(1 - r.learning_rate * r.weight_decay), step = float(r.learning_rate / r.bias_correction1);
  const float b1 = float(r.beta1), b2 = float(r.beta2), rest1 = float(1 - r.beta1), rest2 = float(1 - r.beta2);
  const float eps = float(r.eps), root2 = float(__builtin_sqrt(r.bias_correction2)), clip = float(r.gradient_scale);
  for_lanes(n, [=](int64_t i, auto part) {
    const V dp = splat(clip) * load(g + i, part);
    const V m1 = fma(splat(rest1), dp, splat(b1) * load(m + i, part));
    const V v1 = fma(splat(rest2) * dp, dp, splat(b2) * load(v + i, part));
    store(m + i, m1, part);
    store(v + i, v1, part);
    store(p + i, splat(decay) * load(p + i, part) - splat(step) * m1 / (sqrt(v1) / splat(root2) + splat(eps)), part);
  });
}
