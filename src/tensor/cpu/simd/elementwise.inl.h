// Element-wise sums, products, conversions and the optimiser's step.

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
