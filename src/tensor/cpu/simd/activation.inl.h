// Functions built on exp: activations, their derivatives, exponentials of scores.

INLINE V sigmoid(V x) { return splat(1.0f) / (splat(1.0f) + exp_of(-x)); }

void exp(int64_t n, const float* x, float shift, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, exp_of(load(x + i, part) - splat(shift)), part); });
}

// x·σ(ax) and its derivative σ·(1 + ax·(1 − σ)): SiLU with a = 1, QuickGELU with a = 1.702.
INLINE V swish(V x, float a) { return x * sigmoid(splat(a) * x); }
INLINE V swish_slope(V x, float a) {
  const V s = sigmoid(splat(a) * x);
  return s * fma(splat(a) * x, splat(1.0f) - s, splat(1.0f));
}
constexpr float quick = 1.702f;

void silu(int64_t n, const float* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, swish(load(x + i, part), 1), part); });
}
void silu_dx(int64_t n, const float* dy, const float* x, float* dx) {
  for_lanes(n,
            [=](int64_t i, auto part) { store(dx + i, load(dy + i, part) * swish_slope(load(x + i, part), 1), part); });
}
void quick_gelu(int64_t n, const float* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, swish(load(x + i, part), quick), part); });
}
void quick_gelu_dx(int64_t n, const float* dy, const float* x, float* dx) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(dx + i, load(dy + i, part) * swish_slope(load(x + i, part), quick), part);
  });
}
// σ(v) with v = 2√(2/π)·(x + 0.044715x³); GELU by tanh is x·σ(v), its derivative σ·(1 + (1 − σ)·x·v').
constexpr float tanh_rate = 1.59576912f, tanh_cube = 0.044715f;
INLINE V tanh_gate(V x) { return sigmoid(splat(tanh_rate) * fma(splat(tanh_cube) * x * x, x, x)); }
INLINE V gelu_tanh_slope(V x) {
  const V s = tanh_gate(x), one = splat(1.0f);
  return s * fma((one - s) * x, splat(tanh_rate) * fma(splat(3 * tanh_cube) * x, x, one), one);
}
void gelu_tanh(int64_t n, const float* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) {
    const V v = load(x + i, part);
    store(y + i, v * tanh_gate(v), part);
  });
}
void gelu_tanh_dx(int64_t n, const float* dy, const float* x, float* dx) {
  for_lanes(n, [=](int64_t i, auto part) {
    store(dx + i, load(dy + i, part) * gelu_tanh_slope(load(x + i, part)), part);
  });
}
void swiglu(int64_t n, const float* gate, const float* up, float* y) {
  for_lanes(n, [=](int64_t i, auto part) { store(y + i, swish(load(gate + i, part), 1) * load(up + i, part), part); });
}
void swiglu_backward(int64_t n, const float* dy, const float* gate, const float* up, float* dgate, float* dup) {
  for_lanes(n, [=](int64_t i, auto part) {
    const V d = load(dy + i, part), g = load(gate + i, part), u = load(up + i, part), s = sigmoid(g), one = splat(1.0f);
    store(dgate + i, d * u * (s * fma(g, one - s, one)), part);
    store(dup + i, d * (g * s), part);
  });
}

// The normal distribution: density e = exp(−x²/2) and Φ(x) = e · erfcx(−x/√2) / 2 for x < 0, 1 − Φ(−x) else, with
// erfcx(u) = exp(u²)·erfc(u) ≈ t·P(t), t = 1 / (1 + u/2): relative error 3e-7 on [0, 10] (our minimax fit).
struct Normal {
  V density, below;
};
INLINE Normal normal(V x) {
  const V t = splat(1.0f) / fma(abs(x), splat(0.353553391f), splat(1.0f));
  V p = splat(-0.0590692349f);
  p = fma(p, t, splat(0.284576267f));
  p = fma(p, t, splat(-0.487202495f));
  p = fma(p, t, splat(0.278070003f));
  p = fma(p, t, splat(-0.026627522f));
  p = fma(p, t, splat(0.202687606f));
  p = fma(p, t, splat(0.243103594f));
  p = fma(p, t, splat(0.282375336f));
  p = fma(p, t, splat(0.282086402f));
  const V density = exp_of(splat(-0.5f) * x * x);
  const V tail = splat(0.5f) * density * (p * t);
  return {density, x < V{} ? tail : splat(1.0f) - tail};
}
INLINE V gelu_slope(V x) {  // Φ(x) + x·φ(x)
  const Normal n = normal(x);
  return fma(x * splat(0.398942280f), n.density, n.below);
}
void gelu(int64_t n, const float* x, float* y) {
  for_lanes(n, [=](int64_t i, auto part) {
    const V v = load(x + i, part);
    store(y + i, v * normal(v).below, part);
  });
}
void gelu_dx(int64_t n, const float* dy, const float* x, float* dx) {
  for_lanes(n, [=](int64_t i, auto part) { store(dx + i, load(dy + i, part) * gelu_slope(load(x + i, part)), part); });
}
