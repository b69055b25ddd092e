// row_norm.cu against norm.cu, and the sums of columns 16 bytes at a time against those of single numbers.
#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

constexpr double eps = 1e-5;

// Widths of every layout, multiples of 16 and others, and the widest row of two in registers; beyond
// 8,192 it lies in shared memory.
const std::vector<int64_t> widths{8, 16, 200, 208, 520, 528, 1544, 1552, 2056, 2064, 8192, 8200, 8208};

// For rows of warps, a block and a part of one.
int64_t rows_of(int64_t columns) { return columns <= 1024 ? 5 : 2; }

struct Inputs {
  Tensor x, added, dy, w, b;
  Inputs(int64_t columns, DType dtype, int64_t rows)
      : x(random({rows, columns}, dtype, 1)),
        added(random({rows, columns}, dtype, 2)),
        dy(random({rows, columns}, dtype, 3)),
        w(random({columns}, DType::f32, 4)),
        b(random({columns}, DType::f32, 5)) {}
  Tensor result() const { return unwritten(x.shape(), x.dtype()); }
  Tensor statistic() const { return unwritten({x.rows()}, DType::f32); }
};

void expect_close(const Tensor& got, const Tensor& want, const char* what) {
  testing_kernels::expect_close(numbers(got), numbers(want), tolerance(got.dtype()), what);
}

void for_every_width(const std::function<void(const Inputs&)>& test) {
  for (int64_t columns : widths)
    in_every_format(
        [&](DType dtype) {
          SCOPED_TRACE(columns);
          test(Inputs(columns, dtype, rows_of(columns)));
        },
        {DType::f32, DType::bf16});
}

TEST(KernelsRowNorm, RmsNormIsThatOfTheScalarKernel) {
  for_every_width([](const Inputs& in) {
    const Tensor y = in.result(), rstd = in.statistic(), y1 = in.result(), rstd1 = in.statistic();
    EXPECT_TRUE(is_wide([&] { emu::rms_norm(in.x, in.w, eps, y, rstd); }));
    EXPECT_FALSE(is_wide([&] { emu::rms_norm(moved(in.x), in.w, eps, y1, rstd1); }));
    expect_close(y, y1, "y");
    expect_close(rstd, rstd1, "rstd");
    for (const Tensor& before : {Tensor(), in.added}) {
      const Tensor dx = in.result(), dx1 = in.result();
      EXPECT_TRUE(is_wide([&] { emu::rms_norm_dx(in.dy, in.x, in.w, rstd, before, dx); }));
      EXPECT_FALSE(is_wide([&] { emu::rms_norm_dx(moved(in.dy), in.x, in.w, rstd, before, dx1); }));
      expect_close(dx, dx1, "dx");
    }
  });
}

TEST(KernelsRowNorm, LayerNormIsThatOfTheScalarKernel) {
  for_every_width([](const Inputs& in) {
    const Tensor y = in.result(), mean = in.statistic(), rstd = in.statistic();
    const Tensor y1 = in.result(), mean1 = in.statistic(), rstd1 = in.statistic();
    EXPECT_TRUE(is_wide([&] { emu::layer_norm(in.x, in.w, in.b, eps, y, mean, rstd); }));
    EXPECT_FALSE(is_wide([&] { emu::layer_norm(moved(in.x), in.w, in.b, eps, y1, mean1, rstd1); }));
    expect_close(y, y1, "y");
    expect_close(mean, mean1, "mean");
    expect_close(rstd, rstd1, "rstd");
    for (const Tensor& before : {Tensor(), in.added}) {
      const Tensor dx = in.result(), dx1 = in.result();
      EXPECT_TRUE(is_wide([&] { emu::layer_norm_dx(in.dy, in.x, in.w, mean, rstd, before, dx); }));
      EXPECT_FALSE(is_wide([&] { emu::layer_norm_dx(moved(in.dy), in.x, in.w, mean, rstd, before, dx1); }));
      expect_close(dx, dx1, "dx");
    }
  });
}

// In the fast kernels and in the scalar ones, to the bit: as add, then the norm of the sum as it is stored.
TEST(KernelsRowNorm, OfASumIsThatOfTheStoredSum) {
  for (int64_t columns : {8, 43, 520, 2056, 8200})
    in_every_format([columns](DType dtype) {
      Inputs in(columns, dtype, 2);
      if (dtype == DType::f64) in.w = in.w.to(dtype), in.b = in.b.to(dtype);
      const DType of_statistic = acc_of(dtype);
      const auto statistic = [&] { return unwritten({2}, of_statistic); };
      const Tensor sum = in.result(), y = in.result(), mean = statistic(), rstd = statistic();
      const Tensor sum1 = in.result(), y1 = in.result(), mean1 = statistic(), rstd1 = statistic();
      emu::add(in.x, in.added, sum1);
      emu::rms_norm(sum1, in.w, eps, y1, rstd1);
      emu::add_rms_norm(in.x, in.added, in.w, eps, sum, y, rstd);
      EXPECT_EQ(numbers(sum), numbers(sum1));
      EXPECT_EQ(numbers(y), numbers(y1));
      EXPECT_EQ(numbers(rstd), numbers(rstd1));
      emu::layer_norm(sum1, in.w, in.b, eps, y1, mean1, rstd1);
      emu::add_layer_norm(in.x, in.added, in.w, in.b, eps, sum, y, mean, rstd);
      EXPECT_EQ(numbers(sum), numbers(sum1));
      EXPECT_EQ(numbers(y), numbers(y1));
      EXPECT_EQ(numbers(mean), numbers(mean1));
      EXPECT_EQ(numbers(rstd), numbers(rstd1));
    });
}

TEST(KernelsRowNorm, BitsOfARowDoNotDependOnOthers) {
  for (int64_t columns : widths)
    for (DType dtype : {DType::f32, DType::bf16}) {
      const Inputs in(columns, dtype, 6);
      const Tensor y = in.result(), mean = in.statistic(), rstd = in.statistic(), dx = in.result();
      emu::layer_norm(in.x, in.w, in.b, eps, y, mean, rstd);
      emu::layer_norm_dx(in.dy, in.x, in.w, mean, rstd, in.added, dx);
      const auto one = [](const Tensor& t) { return t.rows(3, 4); };
      const Tensor y1 = one(in.result()), mean1 = one(in.statistic()), rstd1 = one(in.statistic()),
                   dx1 = one(in.result());
      emu::layer_norm(one(in.x), in.w, in.b, eps, y1, mean1, rstd1);
      emu::layer_norm_dx(one(in.dy), one(in.x), in.w, mean1, rstd1, one(in.added), dx1);
      EXPECT_EQ(numbers(one(y)), numbers(y1)) << columns;
      EXPECT_EQ(numbers(one(dx)), numbers(dx1)) << columns;
    }
}

// Rows that are no whole groups of 16 bytes, and rows too long for shared memory.
TEST(KernelsRowNorm, OtherRowsAreForTheScalarKernel) {
  for (const auto& [dtype, columns] :
       {std::pair(DType::f32, 43), {DType::f32, 6}, {DType::bf16, 12}, {DType::bf16, 16392}, {DType::f32, 16388}}) {
    const Inputs in(columns, dtype, 1);
    const Tensor y = in.result(), rstd = in.statistic();
    EXPECT_FALSE(is_wide([&] { emu::rms_norm(in.x, in.w, eps, y, rstd); })) << columns;
    EXPECT_FALSE(std::isnan(numbers(y).back()));
  }
}

// More rows than the lanes of all parts take at once, more columns than a block has.
TEST(KernelsColumnSums, BitsAreThoseOfSingleNumbers) {
  for (int64_t columns : {8, 264})
    in_every_format(
        [columns](DType dtype) {
          const Inputs in(columns, dtype, 150);
          const Tensor mean = random({150}, DType::f32, 6), rstd = random({150}, DType::f32, 7);
          const auto expect_same = [&](const char* what, const std::function<void(const Tensor&, const Tensor&)>& add) {
            const Tensor sums = random({columns}, DType::f32, 8), sums1 = random({columns}, DType::f32, 8);
            EXPECT_TRUE(is_wide([&] { add(in.x, sums); })) << what;
            EXPECT_FALSE(is_wide([&] { add(moved(in.x), sums1); })) << what;
            EXPECT_EQ(numbers(sums), numbers(sums1)) << what;
          };
          expect_same("column_sums", [](const Tensor& x, const Tensor& sums) { emu::column_sums(x, sums); });
          expect_same("rms_norm_dw", [&](const Tensor& x, const Tensor& dw) { emu::rms_norm_dw(in.dy, x, rstd, dw); });
          expect_same("layer_norm_dw",
                      [&](const Tensor& x, const Tensor& dw) { emu::layer_norm_dw(in.dy, x, mean, rstd, dw); });
        },
        {DType::f32, DType::bf16});
}

}  // namespace
}  // namespace vlm2vec
