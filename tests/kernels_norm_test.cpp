// norm.cu and rope.cu: forward against plain loops in double, backward against differences.
#include <numeric>

#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

double sum(const Numbers& x) { return std::accumulate(x.begin(), x.end(), 0.); }
double squares(const Numbers& x) { return std::inner_product(x.begin(), x.end(), x.begin(), 0.); }

constexpr double eps = 1e-5;

Numbers rms_norm(const Numbers& x, const Numbers& w) {
  return by_rows(x, w.size(), [&](Numbers row) {
    const double rstd = 1 / std::sqrt(squares(row) / double(row.size()) + eps);
    for (size_t c = 0; c < row.size(); ++c) row[c] *= rstd * w[c];
    return row;
  });
}
Numbers layer_norm(const Numbers& x, const Numbers& w, const Numbers& b) {
  return by_rows(x, w.size(), [&](Numbers row) {
    const double mean = sum(row) / double(row.size());
    for (double& v : row) v -= mean;
    const double rstd = 1 / std::sqrt(squares(row) / double(row.size()) + eps);
    for (size_t c = 0; c < row.size(); ++c) row[c] = row[c] * rstd * w[c] + b[c];
    return row;
  });
}
Numbers l2_normalize(const Numbers& x, size_t columns, double eps) {
  return by_rows(x, columns, [&](Numbers row) {
    const double norm = std::max(std::sqrt(squares(row)), eps);
    for (double& v : row) v /= norm;
    return row;
  });
}
Numbers plus(Numbers a, const Numbers& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

const std::vector<int64_t> widths{1, 33, 150};

TEST(KernelsNorm, RmsNorm) {
  for (int64_t columns : widths)
    in_every_format([columns](DType dtype) {
      const Shape shape{3, columns};
      const Tensor x = random(shape, dtype, 1), w = random({columns}, acc_of(dtype), 2), dy = random(shape, dtype, 3);
      const Tensor y = unwritten(shape, dtype), rstd = unwritten({3}, acc_of(dtype)), dx = unwritten(shape, dtype);
      const Numbers x_ = numbers(x), w_ = numbers(w), dy_ = numbers(dy);
      emu::rms_norm(x, w, eps, y, rstd);
      expect_close(y, rms_norm(x_, w_), "y");
      emu::rms_norm_dx(dy, x, w, rstd, {}, dx);
      expect_gradient(dx, differences([&](const Numbers& x) { return rms_norm(x, w_); }, x_, dy_), "dx");
      const Tensor dw = random({columns}, acc_of(dtype), 4);
      const Numbers want = plus(differences([&](const Numbers& w) { return rms_norm(x_, w); }, w_, dy_), numbers(dw));
      emu::rms_norm_dw(dy, x, rstd, dw);
      expect_gradient(dw, want, "dw");
    });
}

TEST(KernelsNorm, LayerNorm) {
  for (int64_t columns : widths)
    in_every_format([columns](DType dtype) {
      const Shape shape{9, columns};
      const Tensor x = random(shape, dtype, 5), w = random({columns}, acc_of(dtype), 6),
                   b = random({columns}, acc_of(dtype), 7);
      const Tensor dy = random(shape, dtype, 8), y = unwritten(shape, dtype), dx = unwritten(shape, dtype);
      const Tensor mean = unwritten({9}, acc_of(dtype)), rstd = unwritten({9}, acc_of(dtype));
      const Numbers x_ = numbers(x), w_ = numbers(w), b_ = numbers(b), dy_ = numbers(dy);
      emu::layer_norm(x, w, b, eps, y, mean, rstd);
      expect_close(y, layer_norm(x_, w_, b_), "y");
      const Tensor dw = random({columns}, acc_of(dtype), 9);
      const Numbers want =
          plus(differences([&](const Numbers& w) { return layer_norm(x_, w, b_); }, w_, dy_), numbers(dw));
      emu::layer_norm_dw(dy, x, mean, rstd, dw);
      expect_gradient(dw, want, "dw");
      if (columns == 1) return;  // y does not depend on x: differences see nothing but rounding
      emu::layer_norm_dx(dy, x, w, mean, rstd, {}, dx);
      expect_gradient(dx, differences([&](const Numbers& x) { return layer_norm(x, w_, b_); }, x_, dy_), "dx");
    });
}

TEST(KernelsNorm, LayerNormOfAlmostConstantRows) {  // Σx² − (Σx)² would have lost every digit
  Numbers values(64);
  for (size_t i = 0; i < 64; ++i) values[i] = 4096 + double(i % 2) / 64;
  const Tensor x = tensor({1, 64}, DType::f32, values), ones = tensor({64}, DType::f32, Numbers(64, 1));
  const Tensor zeros = tensor({64}, DType::f32, Numbers(64)), y = unwritten({1, 64}, DType::f32);
  const Tensor mean = unwritten({1}, DType::f32), rstd = unwritten({1}, DType::f32);
  emu::layer_norm(x, ones, zeros, 0, y, mean, rstd);
  for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(numbers(y)[i], i % 2 ? 1 : -1, 1e-3);
}

TEST(KernelsNorm, L2Normalize) {
  for (int64_t columns : widths)
    for (double least : {1e-6, 1e3})  // the second divides by the constant
      in_every_format([=](DType dtype) {
        const Shape shape{3, columns};
        const Tensor x = random(shape, dtype, 10), dy = random(shape, acc_of(dtype), 11),
                     norm = unwritten({3}, acc_of(dtype));
        const Tensor y = unwritten(shape, acc_of(dtype)), dx = unwritten(shape, dtype);
        const auto forward = [&](const Numbers& x) { return l2_normalize(x, size_t(columns), least); };
        emu::l2_normalize(x, least, y, norm);
        expect_close(y, forward(numbers(x)), "y");
        if (columns == 1) return;
        emu::l2_normalize_dx(dy, y, norm, least, dx);
        expect_gradient(dx, differences(forward, numbers(x), numbers(dy)), "dx");
      });
}

TEST(KernelsRope, TurnsHeadsAndCopiesTheRest) {
  in_every_format([](DType dtype) {
    const int heads = 3, head_dim = 10, half = 5;
    const size_t rows = 4, columns = 40;  // 30 of heads, 10 behind them
    const Shape shape{int64_t(rows), int64_t(columns)}, angles{int64_t(rows), half};
    const Tensor theta = random(angles, DType::f64, 12), x = random(shape, dtype, 13);
    Numbers cosines = numbers(theta), sines = numbers(theta);
    for (double& a : cosines) a = std::cos(a);
    for (double& a : sines) a = std::sin(a);
    const Tensor cos = tensor(angles, acc_of(dtype), cosines), sin = tensor(angles, acc_of(dtype), sines);
    Numbers want = numbers(x);
    const Numbers in = want;
    for (size_t r = 0; r < rows; ++r)
      for (int h = 0; h < heads; ++h)
        for (int i = 0; i < half; ++i) {
          const size_t a = r * columns + size_t(h * head_dim + i), b = a + half, t = r * half + size_t(i);
          want[a] = in[a] * cosines[t] - in[b] * sines[t];
          want[b] = in[b] * cosines[t] + in[a] * sines[t];
        }
    const Tensor y = unwritten(shape, dtype), back = unwritten(shape, dtype);
    emu::rope(x, cos, sin, heads, head_dim, false, y);
    expect_close(y, want, "y");
    emu::rope(y, cos, sin, heads, head_dim, true, back);
    expect_close(numbers(back), in, 3 * tolerance(dtype), "there and back");
  });
}

}  // namespace
}  // namespace vlm2vec
