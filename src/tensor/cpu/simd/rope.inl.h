// Rotary position embedding (Su et al. 2021): (a, b) ↦ (a·cos − b·sin, b·cos + a·sin) for pairs (i, i + head_dim/2).

void rope(int64_t rows, int64_t columns, const float* x, const float* cos, const float* sin, int heads, int head_dim,
          float sign, float* y) {
  const int64_t half = head_dim / 2, turned = int64_t(heads) * head_dim;
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns, cos += half, sin += half) {
    for (int h = 0; h < heads; ++h) {
      const float *a = x + h * head_dim, *b = a + half;
      float *ya = y + h * head_dim, *yb = ya + half;
      for_lanes(half, [=](int64_t i, auto part) {
        const V va = load(a + i, part), vb = load(b + i, part), c = load(cos + i, part),
                s = splat(sign) * load(sin + i, part);
        store(ya + i, va * c - vb * s, part);
        store(yb + i, vb * c + va * s, part);
      });
    }
    if (x != y)
      for_lanes(columns - turned,
                [=](int64_t i, auto part) { store(y + turned + i, load(x + turned + i, part), part); });
  }
}
