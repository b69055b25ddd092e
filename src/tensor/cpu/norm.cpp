// Norms and rotary embedding. Threads share the rows; for the gradients of weights they share the columns.

#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec::cpu {
namespace {

// Runs f(row, i) on each row, which begins at number i: several steps on a row find it in the cache.
template <class F>
void each_row(const Tensor& x, F&& f) {
  parallel_rows(x.rows(), x.columns(), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(row, row * x.columns());
  });
}

}  // namespace

void rms_norm(const Tensor& x, const Tensor& w, double eps, const Tensor& y, const Tensor& rstd) {
  const char* op = "rms_norm";
  const int64_t d = x.columns();
  const float *px = f32(op, x), *pw = f32(op, w);
  float *const py = f32(op, y), *const pr = f32(op, rstd);
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().rms_norm(end - begin, d, px + begin * d, pw, float(eps), py + begin * d, pr + begin);
  });
}
void add_rms_norm(const Tensor& x, const Tensor& added, const Tensor& w, double eps, const Tensor& sum, const Tensor& y,
                  const Tensor& rstd) {
  const char* op = "add_rms_norm";
  const int64_t d = x.columns();
  const float *px = f32(op, x), *pa = f32(op, added), *pw = f32(op, w);
  float *const ps = f32(op, sum), *const py = f32(op, y), *const pr = f32(op, rstd);
  each_row(x, [&](int64_t row, int64_t i) {
    simd().add(d, px + i, pa + i, ps + i);
    simd().rms_norm(1, d, ps + i, pw, float(eps), py + i, pr + row);
  });
}
void rms_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd, const Tensor& before,
                 const Tensor& dx) {
  const char* op = "rms_norm_dx";
  const int64_t d = x.columns();
  const float *pdy = f32(op, dy), *px = f32(op, x), *pw = f32(op, w), *pr = f32(op, rstd);
  const float* const pb = before ? f32(op, before) : nullptr;
  float* const pdx = f32(op, dx);
  each_row(x, [&](int64_t row, int64_t i) {
    simd().rms_norm_dx(1, d, pdy + i, px + i, pw, pr + row, pdx + i);
    if (pb) simd().add_to(d, pb + i, pdx + i);
  });
}
void rms_norm_dw(const Tensor& dy, const Tensor& x, const Tensor& rstd, const Tensor& dw) {
  const char* op = "rms_norm_dw";
  const int64_t d = x.columns();
  const float *pdy = f32(op, dy), *px = f32(op, x), *pr = f32(op, rstd);
  float* const pdw = f32(op, dw);
  parallel_columns(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().rms_norm_dw(x.rows(), end - begin, pdy + begin, px + begin, d, pr, pdw + begin);
  });
}

void layer_norm(const Tensor& x, const Tensor& w, const Tensor& b, double eps, const Tensor& y, const Tensor& mean,
                const Tensor& rstd) {
  const char* op = "layer_norm";
  const int64_t d = x.columns();
  const float *px = f32(op, x), *pw = f32(op, w), *pb = f32(op, b);
  float *const py = f32(op, y), *const pm = f32(op, mean), *const pr = f32(op, rstd);
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().layer_norm(end - begin, d, px + begin * d, pw, pb, float(eps), py + begin * d, pm + begin, pr + begin);
  });
}
void add_layer_norm(const Tensor& x, const Tensor& added, const Tensor& w, const Tensor& b, double eps,
                    const Tensor& sum, const Tensor& y, const Tensor& mean, const Tensor& rstd) {
  const char* op = "add_layer_norm";
  const int64_t d = x.columns();
  const float *px = f32(op, x), *pa = f32(op, added), *pw = f32(op, w), *pb = f32(op, b);
  float *const ps = f32(op, sum), *const py = f32(op, y), *const pm = f32(op, mean), *const pr = f32(op, rstd);
  each_row(x, [&](int64_t row, int64_t i) {
    simd().add(d, px + i, pa + i, ps + i);
    simd().layer_norm(1, d, ps + i, pw, pb, float(eps), py + i, pm + row, pr + row);
  });
}
void layer_norm_dx(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                   const Tensor& before, const Tensor& dx) {
  const char* op = "layer_norm_dx";
  const int64_t d = x.columns();
  const float *pdy = f32(op, dy), *px = f32(op, x), *pw = f32(op, w), *pm = f32(op, mean), *pr = f32(op, rstd);
  const float* const pb = before ? f32(op, before) : nullptr;
  float* const pdx = f32(op, dx);
  each_row(x, [&](int64_t row, int64_t i) {
    simd().layer_norm_dx(1, d, pdy + i, px + i, pw, pm + row, pr + row, pdx + i);
    if (pb) simd().add_to(d, pb + i, pdx + i);
  });
}
void layer_norm_dw(const Tensor& dy, const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& dw) {
  const char* op = "layer_norm_dw";
  const int64_t d = x.columns();
  const float *pdy = f32(op, dy), *px = f32(op, x), *pm = f32(op, mean), *pr = f32(op, rstd);
  float* const pdw = f32(op, dw);
  parallel_columns(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().layer_norm_dw(x.rows(), end - begin, pdy + begin, px + begin, d, pm, pr, pdw + begin);
  });
}

void l2_normalize(const Tensor& x, double eps, const Tensor& y, const Tensor& norm) {
  const char* op = "l2_normalize";
  const int64_t d = x.columns();
  const float* px = f32(op, x);
  float *const py = f32(op, y), *const pn = f32(op, norm);
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().l2_normalize(end - begin, d, px + begin * d, float(eps), py + begin * d, pn + begin);
  });
}
void l2_normalize_dx(const Tensor& dy, const Tensor& y, const Tensor& norm, double eps, const Tensor& dx) {
  const char* op = "l2_normalize_dx";
  const int64_t d = y.columns();
  const float *pdy = f32(op, dy), *py = f32(op, y), *pn = f32(op, norm);
  float* const pdx = f32(op, dx);
  parallel_rows(y.rows(), d, [&](int64_t begin, int64_t end) {
    simd().l2_normalize_dx(end - begin, d, pdy + begin * d, py + begin * d, pn + begin, float(eps), pdx + begin * d);
  });
}

void rope(const Tensor& x, const Tensor& cos, const Tensor& sin, int heads, int head_dim, bool inverse,
          const Tensor& y) {
  const int64_t d = x.columns(), half = head_dim / 2;
  const float *px = f32("rope", x), *pc = f32("rope", cos), *ps = f32("rope", sin);
  float* const py = f32("rope", y);
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    simd().rope(end - begin, d, px + begin * d, pc + begin * half, ps + begin * half, heads, head_dim,
                inverse ? -1.0f : 1.0f, py + begin * d);
  });
}

}  // namespace vlm2vec::cpu
