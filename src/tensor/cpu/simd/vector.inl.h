// A vector of W floats, with the functions that the compiler's vector arithmetic (a + b, a < b ? c : d …) lacks. Each
// instruction set compiles it in its own unnamed namespace. Intrinsics serve only where no portable expression gives
// the instruction. Part reads and writes the shorter last vector of a range: same arithmetic, same bits.

constexpr int W = SIMD_LANES;
#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

typedef float V __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));
typedef float UnalignedV __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef uint16_t H __attribute__((vector_size(W * 2)));
typedef uint16_t UnalignedH __attribute__((vector_size(W * 2), aligned(2), may_alias));
typedef float UnalignedPairs __attribute__((vector_size(W * 4), aligned(2), may_alias));
typedef float UnalignedFloat __attribute__((aligned(2), may_alias));
typedef uint32_t U __attribute__((vector_size(W * 4)));

// The part of a vector to use: all lanes, or the first n, 0 < n < W.
struct Whole {};
struct Part {
  int n;
};

INLINE V splat(float x) { return x - V{}; }
INLINE I bits(V x) { return (I)x; }
INLINE V from_bits(I x) { return (V)x; }

template <int... lane>
struct Lanes {
  static constexpr I number = {lane...};
};
template <int n>
struct LanesOf {
  using type = Lanes<__integer_pack(n)...>;
};
using AllLanes = typename LanesOf<W>::type;
INLINE I first_lanes(int n) { return AllLanes::number < n - I{}; }  // −1 in lanes 0 … n − 1

INLINE V load(const float* p, Whole = {}) { return *(const UnalignedV*)p; }
INLINE void store(float* p, V x, Whole = {}) { *(UnalignedV*)p = x; }
#if defined(__AVX512F__)
INLINE V load(const float* p, Part part) { return _mm512_maskz_loadu_ps(__mmask16((1u << part.n) - 1), p); }
INLINE void store(float* p, V x, Part part) { _mm512_mask_storeu_ps(p, __mmask16((1u << part.n) - 1), x); }
INLINE V sqrt(V x) { return _mm512_maskz_sqrt_ps(__mmask16(-1), x); }
INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
#elif defined(__AVX2__)
INLINE V load(const float* p, Part part) { return _mm256_maskload_ps(p, (__m256i)first_lanes(part.n)); }
INLINE void store(float* p, V x, Part part) { _mm256_maskstore_ps(p, (__m256i)first_lanes(part.n), x); }
INLINE V sqrt(V x) { return _mm256_sqrt_ps(x); }
INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
#else
INLINE V load(const float* p, Part part) {
  V x{};
  for (int i = 0; i < part.n; ++i) x[i] = p[i];
  return x;
}
INLINE void store(float* p, V x, Part part) {
  for (int i = 0; i < part.n; ++i) p[i] = x[i];
}
INLINE V sqrt(V x) { return _mm_sqrt_ps(x); }
INLINE V fma(V a, V b, V c) { return a * b + c; }  // rounds twice: these machines lack a fused one
#endif

// bf16: the upper half of a float.
INLINE V from_bf16(H x) { return (V)(__builtin_convertvector(x, U) << 16); }
INLINE V load(const uint16_t* p, Whole = {}) { return from_bf16(*(const UnalignedH*)p); }
// 2·W bf16 as W pairs, which move like floats. The first of a pair is the lower half. A part counts numbers, not pairs.
INLINE V load_pairs(const uint16_t* p) { return *(const UnalignedPairs*)p; }
INLINE V first_of(V pairs) { return (V)((U)pairs << 16); }
INLINE V second_of(V pairs) { return (V)((U)pairs & 0xFFFF0000u); }
#if defined(__AVX512BW__)
INLINE V load(const uint16_t* p, Part part) {
  const H x = (H)_mm256_maskz_loadu_epi16(__mmask16((1u << part.n) - 1), p);
  return (V)(__builtin_convertvector(x, U) << 16);
}
INLINE V load_pairs(const uint16_t* p, Part part) {
  return (V)_mm512_maskz_loadu_epi16(__mmask32((1u << part.n) - 1), p);
}
#else
INLINE V load(const uint16_t* p, Part part) {
  uint16_t x[W] = {};
  for (int i = 0; i < part.n; ++i) x[i] = p[i];
  return load(x);
}
INLINE V load_pairs(const uint16_t* p, Part part) {
  uint16_t x[2 * W] = {};
  for (int i = 0; i < part.n; ++i) x[i] = p[i];
  return load_pairs(x);
}
#endif
// Rounds to nearest, ties to even; NaN stays NaN.
INLINE H to_bf16(V x) {
  const U u = (U)x, rounded = (u + 0x7FFFu + (u >> 16 & 1u)) >> 16;
  return __builtin_convertvector(x == x ? rounded : 0x7FFFu - U{}, H);
}
INLINE void store(uint16_t* p, V x, Whole = {}) { *(UnalignedH*)p = to_bf16(x); }
INLINE void store(uint16_t* p, V x, Part part) {
  const H h = to_bf16(x);
  for (int i = 0; i < part.n; ++i) p[i] = h[i];
}

// f16: 5 exponent bits, 10 of fraction. A denormal is m·2^-24: exact, and computed without denormal floats.
struct Half {
  uint16_t bits;
};
INLINE V from_half(H h) {
  const U x = __builtin_convertvector(h, U), magnitude = x & 0x7FFFu, sign = (x & 0x8000u) << 16;
  const U normal = (magnitude << 13) + (magnitude >= 0x7C00u ? (U{} + 224u) << 23 : (U{} + 112u) << 23);
  const V denormal = __builtin_convertvector((I)magnitude, V) * 0x1p-24f;
  return (V)((magnitude < 0x0400u ? (U)denormal : normal) | sign);
}
INLINE V load(const Half* p, Whole = {}) { return from_half(*(const UnalignedH*)p); }
INLINE V load(const Half* p, Part part) {
  H h = {};
  for (int i = 0; i < part.n; ++i) h[i] = p[i].bits;
  return from_half(h);
}

INLINE V max(V a, V b) { return a > b ? a : b; }
INLINE V abs(V x) { return from_bits(bits(x) & 0x7FFFFFFF); }

// Combines all lanes into one, by halves: ((0 + 8) + (4 + 12)) + …
template <int apart, int... lane>
INLINE V swap_lanes(V x, Lanes<lane...>) {
  return __builtin_shufflevector(x, x, (lane ^ apart)...);
}
template <int apart = W / 2>
INLINE float sum_lanes(V x) {
  if constexpr (apart == 0) return x[0];
  else return sum_lanes<apart / 2>(x + swap_lanes<apart>(x, AllLanes{}));
}
template <int apart = W / 2>
INLINE float max_lanes(V x) {
  if constexpr (apart == 0) return x[0];
  else return max_lanes<apart / 2>(max(x, swap_lanes<apart>(x, AllLanes{})));
}

// Transposes v[i][l] ↔ v[l][i] in log₂ W rounds; each exchanges the off-diagonal quarters of 2·apart squares.
template <int apart, int... lane>
INLINE void exchange(V* v, Lanes<lane...>) {
  UNROLL for (int i = 0; i < W; ++i) {
    if (i & apart) continue;
    const V a = v[i], b = v[i + apart];
    v[i] = __builtin_shufflevector(a, b, (lane & apart ? W + lane - apart : lane)...);
    v[i + apart] = __builtin_shufflevector(a, b, (lane & apart ? W + lane : lane + apart)...);
  }
}
template <int apart = W / 2>
INLINE void transpose(V* v) {
  exchange<apart>(v, AllLanes{});
  if constexpr (apart > 1) transpose<apart / 2>(v);
}

INLINE V select(V x, float, Whole) { return x; }
INLINE V select(V x, float other, Part part) { return first_lanes(part.n) ? x : splat(other); }

// Computes eˣ to 2 units in the last place: x = n·ln 2 + r, |r| ≤ ln 2 / 2, eʳ by Cephes' polynomial. The factor 2ⁿ is
// applied in two steps, so that inf, denormals and 0 come out right. NaN stays NaN.
INLINE V exp_of(V x) {
  x = x < splat(-104.0f) ? splat(-104.0f) : x;  // → 0
  x = x > splat(89.0f) ? splat(89.0f) : x;      // → inf
  const V magic = splat(0x1.8p23f);             // adding it rounds to the nearest whole number, kept in the low bits
  const V shifted = fma(x, splat(1.44269504f), magic), whole = shifted - magic;
  // ln 2 is split in two; the first part has few bits, so that its product is exact.
  const V r = fma(whole, splat(2.12194440e-4f), fma(whole, splat(-0.693359375f), x));
  V p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + splat(1.0f);
  const I n = bits(shifted) - bits(magic), half = n >> 1;
  return p * from_bits((half + 127) << 23) * from_bits((n - half + 127) << 23);
}

// Calls f(i, Whole{}) for each whole vector of [0, n), then f(i, Part{…}) for the rest.
template <class F>
INLINE void for_lanes(int64_t n, F f) {
  int64_t i = 0;
  for (; i + W <= n; i += W) f(i, Whole{});
  if (i < n) f(i, Part{int(n - i)});
}

// Returns Σ f(i, …) over [0, n); four vectors in parallel hide the latency of the sums. Lanes beyond n must give 0.
template <class F>
INLINE V sum_over(int64_t n, F f) {
  V s[4] = {};
  int64_t i = 0;
  for (; i + 4 * W <= n; i += 4 * W) {
    UNROLL for (int j = 0; j < 4; ++j) s[j] += f(i + j * W, Whole{});
  }
  UNROLL for (int j = 0; j < 4; ++j, i += W) {
    if (i + W <= n) s[j] += f(i, Whole{});
    else if (i < n) s[j] += f(i, Part{int(n - i)});
  }
  return (s[0] + s[1]) + (s[2] + s[3]);
}
