// Norms over the columns of contiguous rows, with their gradients.

// RMSNorm (Zhang and Sennrich 2019): y = x·rstd·w, rstd = 1 / √(mean(x²) + eps).
void rms_norm(int64_t rows, int64_t columns, const float* x, const float* w, float eps, float* y, float* rstd) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const V squares = sum_over(columns, [=](int64_t c, auto part) { return load(x + c, part) * load(x + c, part); });
    const float s = rstd[r] = 1 / __builtin_sqrtf(sum_lanes(squares) / float(columns) + eps);
    for_lanes(columns,
              [=](int64_t c, auto part) { store(y + c, load(x + c, part) * splat(s) * load(w + c, part), part); });
  }
}
// dx = rstd·(g − x̂·mean(g·x̂)), g = dy·w, x̂ = x·rstd
void rms_norm_dx(int64_t rows, int64_t columns, const float* dy, const float* x, const float* w, const float* rstd,
                 float* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += columns, x += columns, dx += columns) {
    const float s = rstd[r];
    const V products = sum_over(
        columns, [=](int64_t c, auto part) { return load(dy + c, part) * load(w + c, part) * load(x + c, part); });
    const float mean = sum_lanes(products) * s * s / float(columns);
    for_lanes(columns, [=](int64_t c, auto part) {
      store(dx + c, splat(s) * (load(dy + c, part) * load(w + c, part) - load(x + c, part) * splat(mean)), part);
    });
  }
}
void rms_norm_dw(int64_t rows, int64_t columns, const float* dy, const float* x, int64_t stride, const float* rstd,
                 float* dw) {
  sum_rows(rows, columns, dw, [=](int64_t r, int64_t c, auto part) {
    return load(dy + r * stride + c, part) * (load(x + r * stride + c, part) * splat(rstd[r]));
  });
}

// LayerNorm (Ba et al. 2016): y = x̂·w + b, x̂ = (x − mean)·rstd; a second pass over the row gives the variance.
void layer_norm(int64_t rows, int64_t columns, const float* x, const float* w, const float* b, float eps, float* y,
                float* mean, float* rstd) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const float m = mean[r] =
        sum_lanes(sum_over(columns, [=](int64_t c, auto part) { return load(x + c, part); })) / float(columns);
    const V squares = sum_over(columns, [=](int64_t c, auto part) {
      const V d = select(load(x + c, part) - splat(m), 0, part);
      return d * d;
    });
    const float s = rstd[r] = 1 / __builtin_sqrtf(sum_lanes(squares) / float(columns) + eps);
    for_lanes(columns, [=](int64_t c, auto part) {
      store(y + c, fma((load(x + c, part) - splat(m)) * splat(s), load(w + c, part), load(b + c, part)), part);
    });
  }
}
// dx = rstd·(g − mean(g) − x̂·mean(g·x̂)), g = dy·w
void layer_norm_dx(int64_t rows, int64_t columns, const float* dy, const float* x, const float* w, const float* mean,
                   const float* rstd, float* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += columns, x += columns, dx += columns) {
    const float m = mean[r], s = rstd[r];
    const V g_sum = sum_over(columns, [=](int64_t c, auto part) { return load(dy + c, part) * load(w + c, part); });
    const V gx_sum = sum_over(columns, [=](int64_t c, auto part) {
      return load(dy + c, part) * load(w + c, part) * ((load(x + c, part) - splat(m)) * splat(s));
    });
    const float g_mean = sum_lanes(g_sum) / float(columns), gx_mean = sum_lanes(gx_sum) / float(columns);
    for_lanes(columns, [=](int64_t c, auto part) {
      const V hat = (load(x + c, part) - splat(m)) * splat(s);
      store(dx + c, splat(s) * (load(dy + c, part) * load(w + c, part) - splat(g_mean) - hat * splat(gx_mean)), part);
    });
  }
}
void layer_norm_dw(int64_t rows, int64_t columns, const float* dy, const float* x, int64_t stride, const float* mean,
                   const float* rstd, float* dw) {
  sum_rows(rows, columns, dw, [=](int64_t r, int64_t c, auto part) {
    return load(dy + r * stride + c, part) * ((load(x + r * stride + c, part) - splat(mean[r])) * splat(rstd[r]));
  });
}

// y = x / max(‖x‖, eps)
void l2_normalize(int64_t rows, int64_t columns, const float* x, float eps, float* y, float* norm) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const float length = norm[r] = float(__builtin_sqrt(dot(columns, x, x)));
    const V divisor = splat(length > eps ? length : eps);
    for_lanes(columns, [=](int64_t c, auto part) { store(y + c, load(x + c, part) / divisor, part); });
  }
}
// dx = (dy − y·(y·dy)) / ‖x‖; below eps y is linear in x: dx = dy / eps
void l2_normalize_dx(int64_t rows, int64_t columns, const float* dy, const float* y, const float* norm, float eps,
                     float* dx) {
  for (int64_t r = 0; r < rows; ++r, dy += columns, y += columns, dx += columns) {
    const bool clipped = !(norm[r] > eps);
    const V along = splat(clipped ? 0 : float(dot(columns, y, dy))), divisor = splat(clipped ? eps : norm[r]);
    for_lanes(columns, [=](int64_t c, auto part) {
      store(dx + c, (load(dy + c, part) - load(y + c, part) * along) / divisor, part);
    });
  }
}
