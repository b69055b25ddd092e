// elementwise.cu, reduce.cu, gather.cu, adamw.cu against plain loops in double.
#include <map>

#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

constexpr int64_t rows = 7, columns = 43;  // 301 elements: a block and a part of one
const Shape shape{rows, columns};

Numbers map(const Numbers& a, const Numbers& b, auto f) {
  Numbers y(a.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = f(a[i], b[i]);
  return y;
}

TEST(KernelsElementwise, SumsAndProducts) {
  in_every_format([](DType dtype) {
    const Tensor a = random(shape, dtype, 1), b = random(shape, dtype, 2), y = unwritten(shape, dtype);
    emu::add(a, b, y);
    expect_close(y, map(numbers(a), numbers(b), std::plus()), "add");
    const Numbers before = numbers(y);
    emu::add_to(a, y);
    expect_close(y, map(numbers(a), before, std::plus()), "add_to");
    emu::multiply(a, b, y);
    expect_close(y, map(numbers(a), numbers(b), std::multiplies()), "multiply");
    emu::scale(a, -1.75, y);
    expect_close(y, map(numbers(a), numbers(a), [](double x, double) { return -1.75 * x; }), "scale");
    const Tensor factors = random({columns}, acc_of(dtype), 31), bias = random({columns}, acc_of(dtype), 32);
    const Numbers by = numbers(factors), plus = numbers(bias);
    Numbers scaled = numbers(a), shifted = scaled;
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= by[i % columns], shifted[i] = scaled[i] + plus[i % columns];
    emu::scale_columns(a, factors, {}, y);
    expect_close(y, scaled, "scale_columns");
    emu::scale_columns(a, factors, bias, y);
    expect_close(y, shifted, "scale_columns with a bias");
    emu::fill(y, 0.375);
    expect_close(y, Numbers(size_t(y.numel()), 0.375), "fill");
  });
}

TEST(KernelsElementwise, CastsBetweenAllFormats) {
  in_every_format([](DType from) {
    for (DType to : {DType::f64, DType::f32, DType::bf16}) {
      const Tensor x = random(shape, from, 3), y = unwritten(shape, to);
      emu::cast(x, y);
      EXPECT_EQ(numbers(y), numbers(tensor(shape, to, numbers(x))));
    }
  });
}

double apply(Activation f, double x) {
  switch (f) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.));
    case Activation::quick_gelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::gelu_tanh:
      return x * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

TEST(KernelsElementwise, ActivationsAndTheirSlopes) {
  for (Activation f : {Activation::silu, Activation::gelu, Activation::quick_gelu, Activation::gelu_tanh})
    in_every_format([f](DType dtype) {
      const Tensor x = random(shape, dtype, 4, 3), dy = random(shape, dtype, 5), y = unwritten(shape, dtype),
                   dx = unwritten(shape, dtype);
      emu::activate(x, f, y);
      expect_close(y, map(numbers(x), numbers(x), [f](double x, double) { return apply(f, x); }), "y");
      emu::activate_dx(dy, x, f, dx);
      const auto slope = [f](double x, double dy) { return dy * (apply(f, x + 1e-5) - apply(f, x - 1e-5)) / 2e-5; };
      expect_gradient(dx, map(numbers(x), numbers(dy), slope), "dx");
    });
}

TEST(KernelsElementwise, Swiglu) {
  in_every_format([](DType dtype) {
    const Tensor gate = random(shape, dtype, 6), up = random(shape, dtype, 7), dy = random(shape, dtype, 8);
    const Tensor y = unwritten(shape, dtype), dgate = unwritten(shape, dtype), dup = unwritten(shape, dtype);
    emu::swiglu(gate, up, y);
    const auto swiglu = [](double g, double u) { return apply(Activation::silu, g) * u; };
    expect_close(y, map(numbers(gate), numbers(up), swiglu), "y");
    emu::swiglu_backward(dy, gate, up, dgate, dup);
    const auto forward = [&](const Numbers& g, const Numbers& u) { return map(g, u, swiglu); };
    const Numbers g = numbers(gate), u = numbers(up), d = numbers(dy);
    expect_gradient(dgate, differences([&](const Numbers& x) { return forward(x, u); }, g, d), "dgate");
    expect_gradient(dup, differences([&](const Numbers& x) { return forward(g, x); }, u, d), "dup");
  });
}

TEST(KernelsElementwise, DropoutDependsOnRowKeyAndColumnOnly) {
  in_every_format([](DType dtype) {
    constexpr size_t columns = 1003;  // not all threads have four columns
    const Tensor buffer = unwritten({4, columns}, dtype), y = buffer.rows(0, 3);
    const Tensor x = tensor({4, columns}, dtype, Numbers(4 * columns, 1)).rows(0, 3);
    const std::vector<int64_t> row_keys{11, 12, 11};
    emu::dropout(x, keys(row_keys), 0.25, 99, y);
    const Numbers got = numbers(y);
    double kept = 0, same = 0;
    for (size_t c = 0; c < columns; ++c) {
      for (size_t r = 0; r < 3; ++r) {
        const bool drop = uniform(Philox(99)(uint64_t(row_keys[r]), c / 4).word[c % 4]) < 0.25f;
        ASSERT_NEAR(got[r * columns + c], drop ? 0 : 1 / 0.75, tolerance(dtype) * 2);
      }
      EXPECT_EQ(got[c], got[2 * columns + c]);  // one key, one mask
      kept += got[c] != 0, same += (got[c] != 0) == (got[columns + c] != 0);
    }
    EXPECT_NEAR(kept, 752, 50);  // 3.7 standard deviations
    EXPECT_NEAR(same, 627, 60);  // another key, an independent mask: 0.75² + 0.25²
    emu::dropout(x, keys({1, 2, 3}), 0, 99, y);
    expect_close(y, numbers(x), "p = 0");
    EXPECT_TRUE(std::isnan(numbers(buffer)[3 * columns]));  // what lies behind y is not its to write
  });
}

TEST(KernelsReduce, ColumnSumsAccumulate) {
  for (const int64_t rows : {0, 37, 130, 5000}) {  // up to the most parts, which then go round more than eight times
    SCOPED_TRACE(rows);
    std::map<DType, Numbers> first;
    in_every_format([&](DType dtype) {
      const Tensor x = random({rows, columns}, dtype, 9), sums = random({columns}, acc_of(dtype), 10);
      Numbers want = numbers(sums), all = numbers(x);
      for (size_t i = 0; i < all.size(); ++i) want[i % columns] += all[i];
      emu::column_sums(x, sums);
      expect_close(sums, want, "sums");
      EXPECT_EQ(numbers(sums), first.emplace(dtype, numbers(sums)).first->second);  // the same bits in every schedule
    });
  }
}

TEST(KernelsReduce, SumOfSquaresAndMean) {
  const auto check = [](int64_t n, DType dtype) {
    const Tensor x = random({n}, dtype, 11), sum = unwritten({1}, acc_of(dtype)), mean = unwritten({1}, dtype);
    double squares = 0, total = 0;
    for (double v : numbers(x)) squares += v * v, total += v;
    emu::sum_of_squares(x, sum);
    expect_close(sum, {squares}, "sum");
    if (n == 0) return;
    emu::mean(x, mean);
    expect_close(mean, {total / double(n)}, "mean");
  };
  for (int64_t n : {0, 1, 255, 3000}) in_every_format([&](DType dtype) { check(n, dtype); });
  check(270000, DType::f32);  // more than one element per thread of the largest grid
}

TEST(KernelsGather, RowsByNumber) {
  in_every_format([](DType dtype) {
    const std::vector<int32_t> ids{4, 0, 4, 6, 4};
    const Tensor table = random(shape, dtype, 12), y = unwritten({5, columns}, acc_of(dtype));
    emu::gather_rows(table, integers(ids), Tensor(), y);
    Numbers want;
    for (int32_t id : ids)
      for (int64_t c = 0; c < columns; ++c) want.push_back(numbers(table)[size_t(id * columns + c)]);
    EXPECT_EQ(numbers(y), want);

    const Tensor dy = random({5, columns}, dtype, 13), dtable = random(shape, acc_of(dtype), 14);
    want = numbers(dtable);
    for (size_t i = 0; i < 5; ++i)
      for (size_t c = 0; c < columns; ++c) want[size_t(ids[i]) * columns + c] += numbers(dy)[i * columns + c];
    emu::scatter_add_rows(dy, integers(ids), Tensor(), dtable);
    expect_close(dtable, want, "dtable");
  });
}

TEST(KernelsGather, SharesOfRows) {
  in_every_format([](DType dtype) {
    const std::vector<int32_t> ids{4, 0, 4, 6, 4, 1};
    const Tensor at = integers(ids).view({3, 2}), shares = random({3, 2}, acc_of(dtype), 17);
    const Tensor table = random(shape, dtype, 12), y = unwritten({3, columns}, acc_of(dtype));
    emu::gather_rows(table, at, shares, y);
    Numbers want(3 * columns);
    for (size_t i = 0; i < ids.size(); ++i)
      for (size_t c = 0; c < columns; ++c)
        want[i / 2 * columns + c] += numbers(shares)[i] * numbers(table)[size_t(ids[i]) * columns + c];
    expect_close(y, want, "y");

    const Tensor dy = random({3, columns}, dtype, 13), dtable = random(shape, acc_of(dtype), 14);
    want = numbers(dtable);
    for (size_t i = 0; i < ids.size(); ++i)
      for (size_t c = 0; c < columns; ++c)
        want[size_t(ids[i]) * columns + c] += numbers(shares)[i] * numbers(dy)[i / 2 * columns + c];
    emu::scatter_add_rows(dy, at, shares, dtable);
    expect_close(dtable, want, "dtable");
  });
}

// More rows and columns than a block has threads; every format's sums are those of the order of i, to the bit.
TEST(KernelsGather, ManyRowsOfFewNumbersAddUpInOrder) {
  in_every_format([](DType dtype) {
    constexpr size_t rows = 301, columns = 259;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < rows; ++i) ids.push_back(int32_t(i * i % 7));  // 3, 5 and 6 never
    ids.back() = 6;
    const Tensor dy = random({rows, columns}, dtype, 33), dtable = random({7, columns}, acc_of(dtype), 34);
    Numbers want = numbers(dtable);
    const Numbers add = numbers(dy);
    for (size_t i = 0; i < rows; ++i)
      for (size_t c = 0; c < columns; ++c) {
        double& sum = want[size_t(ids[i]) * columns + c];
        sum += add[i * columns + c];
        if (dtype != DType::f64) sum = float(sum);
      }
    emu::scatter_add_rows(dy, integers(ids), Tensor(), dtable);
    EXPECT_EQ(numbers(dtable), want);
  });
}

TEST(KernelsGather, ReplaceAndClear) {
  in_every_format([](DType dtype) {
    const std::vector<int32_t> which{5, 1};
    const Tensor x = random(shape, dtype, 15), source = random({2, columns}, dtype, 16), y = unwritten(shape, dtype);
    emu::replace_rows(x, integers(which), source, y);
    Numbers want = numbers(x);
    for (size_t i = 0; i < 2; ++i)
      for (size_t c = 0; c < columns; ++c) want[size_t(which[i]) * columns + c] = numbers(source)[i * columns + c];
    EXPECT_EQ(numbers(y), want);
    emu::clear_rows(x, integers(which), y);
    for (size_t i = 0; i < 2; ++i)
      for (size_t c = 0; c < columns; ++c) want[size_t(which[i]) * columns + c] = 0;
    EXPECT_EQ(numbers(y), want);
  });
}

TEST(KernelsAdamw, FollowsTheAlgorithm) {
  in_every_format(
      [](DType dtype) {
        const Shape n{301};
        const Tensor p = random(n, dtype, 17), m = tensor(n, dtype, Numbers(301)), v = tensor(n, dtype, Numbers(301));
        Numbers want = numbers(p), m1(301), m2(301);
        const double lr = 0.01, decay = 0.1, b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 0.5;
        for (int t = 1; t <= 3; ++t) {
          const Tensor g = random(n, dtype, 17 + uint64_t(t));
          const double c1 = 1 - std::pow(b1, t), c2 = 1 - std::pow(b2, t);
          emu::adamw(p, g, m, v, keys({0, 301, 0, chunk_decays}).view({1, 4}), {lr, b1, b2, eps, decay, c1, c2, clip});
          for (size_t i = 0; i < 301; ++i) {
            const double gi = clip * numbers(g)[i];
            m1[i] = b1 * m1[i] + (1 - b1) * gi, m2[i] = b2 * m2[i] + (1 - b2) * gi * gi;
            want[i] -= lr * (m1[i] / c1 / (std::sqrt(m2[i] / c2) + eps) + decay * want[i]);
          }
        }
        expect_close(p, want, "p");
        expect_close(m, m1, "m");
        expect_close(v, m2, "v");
      },
      {DType::f64, DType::f32});
}

}  // namespace
}  // namespace vlm2vec
