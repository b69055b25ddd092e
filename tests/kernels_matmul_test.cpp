// The ladder of products (matmul.cu, matmul_async.cu, matmul_tensor.cu): every rung against plain loops in double, and
// against the first one bit for bit. The emulator's tensor cores add in order, as the other rungs do; a GPU's do not.
#include "kernels_testing.h"

namespace vlm2vec {
namespace emu {
void matmul_on_rung(int rung, bool large, const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options,
                    const Tensor& c);
}
namespace {

using namespace testing_kernels;

constexpr DType f32 = DType::f32, f64 = DType::f64, f16 = DType::f16, half = DType::bf16;

Numbers transposed(const Numbers& x, int64_t rows, int64_t columns) {
  Numbers y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) y[size_t(j * rows + i)] = x[size_t(i * columns + j)];
  return y;
}

struct Case {
  int64_t m, n, k;
  DType a, b, c;
  bool large = false;  // tiles
  int top() const { return a == b && a != DType::f64 ? 4 : 3; }
};

void check(const Case& t, bool transpose_a, bool transpose_b, bool bias, bool accumulate) {
  SCOPED_TRACE(sentence(t.m, "×", t.n, "×", t.k, transpose_a ? " T" : " N", transpose_b ? "T " : "N ", name_of(t.a),
                        " ", name_of(t.b)));
  const Tensor a = random(transpose_a ? Shape{t.k, t.m} : Shape{t.m, t.k}, t.a == f64 ? f64 : f32, 1).to(t.a);
  const Tensor b = random(transpose_b ? Shape{t.n, t.k} : Shape{t.k, t.n}, t.b == f64 ? f64 : f32, 2).to(t.b);
  const Tensor row = bias ? random({t.n}, acc_of(t.a), 3) : Tensor();
  const Shape shape{t.m, t.n};
  const Tensor before = accumulate ? random(shape, t.c, 4) : unwritten(shape, t.c);

  Numbers want = accumulate ? numbers(before) : Numbers(size_t(t.m * t.n));
  const Numbers left = transpose_a ? transposed(numbers(a), t.k, t.m) : numbers(a);
  const Numbers right = transpose_b ? numbers(b) : transposed(numbers(b), t.k, t.n);
  const Numbers biases = bias ? numbers(row) : Numbers(size_t(t.n));
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      double& sum = want[size_t(i * t.n + j)];
      for (int64_t l = 0; l < t.k; ++l) sum += left[size_t(i * t.k + l)] * right[size_t(j * t.k + l)];
      sum += biases[size_t(j)];
    }
  Numbers naive;
  for (int rung = 1; rung <= t.top(); ++rung) {
    const Tensor c = before.clone();
    emu::matmul_on_rung(rung, t.large, a, b, row, {transpose_a, transpose_b, accumulate}, c);
    expect_close(c, want, "c");
    if (rung == 1) naive = numbers(c);
    else EXPECT_EQ(numbers(c), naive) << "rung " << rung;
  }
}

TEST(KernelsMatmul, EveryRungAndLayout) {
  in_every_schedule([] {
    for (const Case& t : {Case{5, 7, 3, f64, f64, f64}, Case{33, 36, 50, f64, f64, f64}, Case{37, 20, 18, f32, f32, f32},
                          Case{36, 40, 100, f32, f32, f32}, Case{20, 70, 33, f32, half, f32},
                          Case{24, 40, 56, f32, f16, f32}, Case{35, 33, 17, half, half, f32},
                          Case{72, 40, 168, half, half, half}, Case{16, 80, 104, half, half, f32}})
      for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true})
          for (bool bias : {false, true}) check(t, transpose_a, transpose_b, bias, bias == transpose_a);
    check({3, 4, 0, f32, f32, f32}, false, true, true, false);  // an empty sum: the bias
    check({3, 8, 0, half, half, half}, false, true, true, false);
    check({0, 4, 5, f32, f32, f32}, false, true, true, false);
  });
}

TEST(KernelsMatmul, LargeTiles) {
  in_every_schedule([] {
    const bool other = emulator::schedule == emulator::Schedule::random;
    for (const Case& t : {Case{131, 20, 50, f32, f32, f32, true}, Case{24, 136, 20, f32, half, f32, true},
                          Case{72, 136, 136, half, half, half, true}, Case{136, 48, 33, half, half, f32, true}})
      for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true}) check(t, transpose_a, transpose_b, other != transpose_b, other);
  });
}

// Rows of a matrix that is one, two … numbers away from where copies of 16 bytes could begin.
TEST(KernelsMatmul, AddressesDoNotChangeBits) {
  for (DType dtype : {f32, half}) {
    const Tensor a = random({40 * 24}, dtype, 5), b = random({16 * 24}, dtype, 6);
    const auto product = [&](int64_t shift) {
      const auto moved = [&](const Tensor& x) {
        Numbers all(static_cast<size_t>(shift));
        for (double number : numbers(x)) all.push_back(number);
        const int64_t count = x.numel() + shift;
        return tensor({count, 1}, dtype, all).rows(shift, count).view({x.numel() / 24, 24});
      };
      const Tensor c = unwritten({40 * 16 + shift, 1}, dtype).rows(shift, 40 * 16 + shift).view({40, 16});
      emu::matmul(moved(a), moved(b), Tensor(), {.transpose_b = true}, c);
      return numbers(c);
    };
    const Numbers aligned = product(0);
    for (int64_t shift : {1, 2, 4}) EXPECT_EQ(product(shift), aligned) << name_of(dtype) << " " << shift;
  }
}

TEST(KernelsMatmul, ARowsBitsDoNotDependOnTheOtherRows) {
  for (const auto& [type_a, type_b] : {std::pair{f32, f32}, {half, half}, {f32, half}, {f64, f64}})
    for (bool transpose_b : {false, true}) {
      const Tensor a = random({70, 45}, type_a, 5), b = random(transpose_b ? Shape{9, 45} : Shape{45, 9}, type_b, 6);
      const Tensor all = unwritten({70, 9}, acc_of(type_a)), one = unwritten({1, 9}, acc_of(type_a));
      emu::matmul(a, b, Tensor(), {.transpose_b = transpose_b}, all);
      for (int64_t i : {0, 31, 32, 69}) {
        emu::matmul(a.rows(i, i + 1), b, Tensor(), {.transpose_b = transpose_b}, one);
        EXPECT_EQ(numbers(one), numbers(all.rows(i, i + 1)));
      }
    }
}

// What docs/kernels.md computes. A warp multiplies its part of a tile, if that begins inside; a block copies the rows of
// its tile, those inside.
TEST(KernelsMatmul, TensorCoresMultiplyAndCopiesReadAsComputed) {
  const auto over = [](uint64_t count, uint64_t size) { return (count + size - 1) / size; };
  const uint64_t m = 200, n = 150, k = 80;
  for (DType dtype : {half, f32})
    for (bool large : {false, true}) {
      const Tensor a = random({m, k}, dtype, 7), b = random({n, k}, dtype, 8), c = unwritten({m, n}, f32);
      const uint64_t products = emulator::matrix_products, bytes = emulator::copied_bytes;
      emu::matmul_on_rung(4, large, a, b, Tensor(), {.transpose_b = true}, c);
      const uint64_t rows = large ? 64 : 32, columns = 32, tile = large ? 128 : dtype == half ? 64 : 32;
      const uint64_t of_a_step = rows / 16 * (columns / 8) * 2;  // 32 numbers of k: two products deep
      EXPECT_EQ(emulator::matrix_products - products,
                dtype == half ? over(m, rows) * over(n, columns) * over(k, 32) * of_a_step : 0);
      EXPECT_EQ(emulator::copied_bytes - bytes,
                (over(n, tile) * m * k + over(m, tile) * n * k) * uint64_t(size_of(dtype)));
    }
}

}  // namespace
}  // namespace vlm2vec
