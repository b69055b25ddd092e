// matmul.cu: both levels against plain loops in double, and against each other, bit for bit.
#include "kernels_testing.h"

namespace vlm2vec {
namespace emu {
void matmul_naive(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options,
                  const Tensor& c);  // level 1
}
namespace {

using namespace testing_kernels;

Numbers transposed(const Numbers& x, int64_t rows, int64_t columns) {
  Numbers y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) y[size_t(j * rows + i)] = x[size_t(i * columns + j)];
  return y;
}

struct Case {
  int64_t m, n, k;
  DType a, b;
};

void check(const Case& t, bool transpose_a, bool transpose_b, bool bias, bool accumulate) {
  SCOPED_TRACE(sentence(t.m, "×", t.n, "×", t.k, transpose_a ? " T" : " N", transpose_b ? "T " : "N ", name_of(t.a),
                        " ", name_of(t.b)));
  const Tensor a = random(transpose_a ? Shape{t.k, t.m} : Shape{t.m, t.k}, t.a, 1);
  const Tensor b = random(transpose_b ? Shape{t.n, t.k} : Shape{t.k, t.n}, t.b, 2);
  const DType sum_type = acc_of(t.a);
  const Tensor row = bias ? random({t.n}, sum_type, 3) : Tensor();
  const Shape shape{t.m, t.n};
  const Tensor c = accumulate ? random(shape, sum_type, 4) : unwritten(shape, sum_type),
               naive = tensor(shape, sum_type, numbers(c));

  Numbers want = accumulate ? numbers(c) : Numbers(size_t(t.m * t.n));
  const Numbers left = transpose_a ? transposed(numbers(a), t.k, t.m) : numbers(a);
  const Numbers right = transpose_b ? transposed(numbers(b), t.n, t.k) : numbers(b);
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      double& sum = want[size_t(i * t.n + j)];
      for (int64_t l = 0; l < t.k; ++l) sum += left[size_t(i * t.k + l)] * right[size_t(l * t.n + j)];
      if (bias) sum += numbers(row)[size_t(j)];
    }
  emu::matmul(a, b, row, {transpose_a, transpose_b, accumulate}, c);
  emu::matmul_naive(a, b, row, {transpose_a, transpose_b, accumulate}, naive);
  expect_close(c, want, "c");
  EXPECT_EQ(numbers(c), numbers(naive));
}

TEST(KernelsMatmul, EveryLayout) {
  in_every_schedule([] {
    for (const Case& t : {Case{5, 7, 3, DType::f64, DType::f64}, Case{33, 35, 50, DType::f64, DType::f64},
                          Case{37, 20, 18, DType::f32, DType::f32}, Case{20, 70, 33, DType::f32, DType::bf16},
                          Case{35, 33, 17, DType::bf16, DType::bf16}})
      for (bool transpose_a : {false, true})
        for (bool transpose_b : {false, true})
          for (bool bias : {false, true}) check(t, transpose_a, transpose_b, bias, bias == transpose_a);
    check({3, 4, 0, DType::f32, DType::f32}, false, true, true, false);  // an empty sum: the bias
    check({0, 4, 5, DType::f32, DType::f32}, false, true, true, false);
  });
}

TEST(KernelsMatmul, ARowsBitsDoNotDependOnTheOtherRows) {
  const Tensor a = random({70, 45}, DType::f32, 5), b = random({9, 45}, DType::f32, 6);
  const Tensor all = unwritten({70, 9}, DType::f32), one = unwritten({1, 9}, DType::f32);
  emu::matmul(a, b, Tensor(), {.transpose_b = true}, all);
  for (int64_t i : {0, 31, 32, 69}) {
    emu::matmul(a.rows(i, i + 1), b, Tensor(), {.transpose_b = true}, one);
    EXPECT_EQ(numbers(one), numbers(all.rows(i, i + 1)));
  }
}

}  // namespace
}  // namespace vlm2vec
