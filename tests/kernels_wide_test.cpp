// Kernels of elementwise.cu, gather.cu, rope.cu, reduce.cu and adamw.cu that access 16 bytes at a time: to the bit,
// they compute what their scalar ones do.
#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

const Shape shape{11, 264};  // in vectors of 4 or 8 numbers, a block and a part of one
const std::vector<DType> formats{DType::f32, DType::bf16};

// f(x…) writes its results, which are of the inputs' form. With inputs that are moved, it runs the scalar kernel.
void expect_same_bits(const std::vector<Tensor>& inputs, const std::vector<Tensor>& like,
                      const std::function<void(const std::vector<Tensor>&, const std::vector<Tensor>&)>& f) {
  std::vector<Tensor> elsewhere, wide, scalar;
  for (const Tensor& x : inputs) elsewhere.push_back(moved(x));
  for (const Tensor& y : like) wide.push_back(unwritten_like(y)), scalar.push_back(moved(unwritten_like(y)));
  EXPECT_TRUE(is_wide([&] { f(inputs, wide); }));
  EXPECT_FALSE(is_wide([&] { f(elsewhere, scalar); }));
  for (size_t i = 0; i < like.size(); ++i) EXPECT_EQ(numbers(wide[i]), numbers(scalar[i])) << "result " << i;
}
using Tensors = const std::vector<Tensor>&;

TEST(KernelsWide, SumsProductsAndConversions) {
  for (DType dtype : formats) {
    SCOPED_TRACE(name_of(dtype));
    const Tensor a = random(shape, dtype, 1), b = random(shape, dtype, 2);
    expect_same_bits({a, b}, {a}, [](Tensors x, Tensors y) { emu::add(x[0], x[1], y[0]); });
    expect_same_bits({a, b}, {a}, [](Tensors x, Tensors y) { emu::multiply(x[0], x[1], y[0]); });
    expect_same_bits({a}, {a}, [](Tensors x, Tensors y) { emu::scale(x[0], -1.7, y[0]); });
    expect_same_bits({}, {a}, [](Tensors, Tensors y) { emu::fill(y[0], 1.1); });
    for (DType to : formats)
      expect_same_bits({a}, {Tensor(shape, to, Device::emu)}, [](Tensors x, Tensors y) { emu::cast(x[0], y[0]); });
    const Tensor wide(shape, DType::f16, Device::emu), scalar(shape, DType::f16, Device::emu);
    emu::cast(a, wide);
    emu::cast(moved(a), scalar);
    EXPECT_EQ(numbers(wide), numbers(scalar));
    expect_same_bits({wide}, {a}, [](Tensors x, Tensors y) { emu::cast(x[0], y[0]); });
  }
}

TEST(KernelsWide, Activations) {
  for (DType dtype : formats) {
    SCOPED_TRACE(name_of(dtype));
    const Tensor x = random(shape, dtype, 3, 3), dy = random(shape, dtype, 4), up = random(shape, dtype, 5);
    for (Activation f : {Activation::silu, Activation::gelu, Activation::quick_gelu, Activation::gelu_tanh}) {
      expect_same_bits({x}, {x}, [f](Tensors x, Tensors y) { emu::activate(x[0], f, y[0]); });
      expect_same_bits({dy, x}, {x}, [f](Tensors x, Tensors y) { emu::activate_dx(x[0], x[1], f, y[0]); });
    }
    expect_same_bits({x, up}, {x}, [](Tensors x, Tensors y) { emu::swiglu(x[0], x[1], y[0]); });
    expect_same_bits({dy, x, up}, {x, x},
                     [](Tensors x, Tensors y) { emu::swiglu_backward(x[0], x[1], x[2], y[0], y[1]); });
    const Tensor gate_up = random({11, 528}, dtype, 6);
    expect_same_bits({gate_up}, {x}, [](Tensors x, Tensors y) { emu::packed_swiglu(x[0], y[0]); });
    expect_same_bits({dy, gate_up}, {gate_up},
                     [](Tensors x, Tensors y) { emu::packed_swiglu_backward(x[0], x[1], y[0]); });
  }
}

TEST(KernelsWide, Dropout) {
  const Tensor of_rows = keys({7, 1, 9, 1000000007, 5, 4, 3, 2, 77, 12, 11});
  for (DType dtype : formats) {
    const Tensor x = random(shape, dtype, 7);
    expect_same_bits({x}, {x}, [&](Tensors x, Tensors y) { emu::dropout(x[0], of_rows, 0.3, 5, y[0]); });
  }
}

TEST(KernelsWide, Rope) {
  for (DType dtype : formats)
    for (bool inverse : {false, true}) {
      const Tensor x = random(shape, dtype, 8), cos = random({11, 16}, DType::f32, 9),
                   sin = random({11, 16}, DType::f32, 10);
      expect_same_bits({x, cos, sin}, {x}, [=](Tensors x, Tensors y) {
        emu::rope(x[0], x[1], x[2], 7, 32, inverse, y[0]);  // 224 columns of heads, 40 behind them
      });
    }
}

std::vector<int32_t> many_ids() {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 301; ++i) ids.push_back(i * i % 7);  // 3, 5 and 6 never
  ids.back() = 6;
  return ids;
}

TEST(KernelsWide, GatheredAndReplacedRows) {
  const Tensor ids = integers({4, 0, 4, 10}), pairs = integers({4, 0, 4, 10}).view({2, 2});
  for (DType from : formats)
    for (DType to : formats) {
      const Tensor table = random(shape, from, 11), y({4, 264}, to, Device::emu), z({2, 264}, to, Device::emu);
      const Tensor shares = random({2, 2}, DType::f32, 12);
      expect_same_bits({table}, {y}, [&](Tensors x, Tensors y) { emu::gather_rows(x[0], ids, {}, y[0]); });
      expect_same_bits({table}, {z}, [&](Tensors x, Tensors y) { emu::gather_rows(x[0], pairs, shares, y[0]); });
    }
  for (DType dtype : formats) {
    const Tensor x = random(shape, dtype, 13), source = random({2, 264}, dtype, 14), rows = integers({9, 2});
    expect_same_bits({x, source}, {x}, [&](Tensors x, Tensors y) { emu::replace_rows(x[0], rows, x[1], y[0]); });
    expect_same_bits({x}, {x}, [&](Tensors x, Tensors y) { emu::clear_rows(x[0], rows, y[0]); });
  }
}

TEST(KernelsWide, ScatteredRows) {
  const Tensor ids = integers(many_ids()), pairs = integers(many_ids()).rows(0, 300).view({150, 2});
  const Tensor shares = random({150, 2}, DType::f32, 15);
  in_every_format(
      [&](DType dtype) {
        for (int64_t columns : {8, 264}) {
          const Tensor dy = random({301, columns}, dtype, 16), table = random({7, columns}, DType::f32, 17);
          const auto into = [&](const Tensor& sums, const std::function<void(const Tensor&)>& add) {
            copy_bytes(table, sums);
            add(sums);
          };
          expect_same_bits({dy}, {table}, [&](Tensors x, Tensors y) {
            into(y[0], [&](const Tensor& sums) { emu::scatter_add_rows(x[0], ids, {}, sums); });
          });
          expect_same_bits({dy}, {table}, [&](Tensors x, Tensors y) {
            into(y[0], [&](const Tensor& sums) { emu::scatter_add_rows(x[0].rows(0, 150), pairs, shares, sums); });
          });
        }
      },
      formats);
}

// Three chunks of sorted ids, the last one ragged.
TEST(KernelsWide, ManyScatteredRows) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 1100; ++i) ids.push_back(i * 37 % 101 % 60);
  const Tensor dy = random({1100, 8}, DType::f32, 19), table({60, 8}, DType::f32, Device::emu);
  in_every_schedule([&] {
    expect_same_bits({dy}, {table}, [&](Tensors x, Tensors y) {
      emu::fill(y[0], 1);
      emu::scatter_add_rows(x[0], integers(ids), {}, y[0]);
    });
  });
}

TEST(KernelsWide, SumOfSquares) {
  in_every_format(
      [](DType dtype) {
        const Tensor x = random({5, 2056}, dtype, 18), wide = unwritten({1}, DType::f32),
                     scalar = unwritten({1}, DType::f32);
        EXPECT_TRUE(is_wide([&] { emu::sum_of_squares(x, wide); }));
        EXPECT_FALSE(is_wide([&] { emu::sum_of_squares(moved(x), scalar); }));
        expect_close(numbers(wide), numbers(scalar), 1e-6, "sum");
      },
      formats);
}

// Two chunks with a gap: the first with a tail of three numbers and a copy in bf16, the second with one in f32.
TEST(KernelsWide, AdamWOfChunks) {
  const Shape n{2600};
  const Tensor p = random(n, DType::f32, 19), g = random(n, DType::f32, 20), m = random(n, DType::f32, 21);
  const Tensor v = random(n, DType::f32, 22, 0.01);
  emu::multiply(v, v, v);
  const Tensor narrow({2051}, DType::bf16, Device::emu), rounded({500}, DType::f32, Device::emu);
  const auto address = [](const Tensor& x) { return reinterpret_cast<int64_t>(x.raw()); };
  const Tensor chunks = keys({0, 2051, address(narrow), chunk_copy_is_bf16, 2064, 500, address(rounded), chunk_decays});
  const AdamWStep step{0.01, 0.9, 0.999, 1e-8, 0.1, 0.19, 0.002, 0.5};
  expect_same_bits({p, g, m, v}, {p, m, v}, [&](Tensors x, Tensors y) {
    for (size_t i : {0, 1, 2}) copy_bytes(x[i ? i + 1 : 0], y[i]);
    for (const Tensor& copy : {narrow, rounded}) copy_bytes(unwritten_like(copy), copy);
    emu::adamw(y[0], x[1], y[1], y[2], chunks.view({2, 4}), step);
    const Tensor first = y[0].rows(0, 2051), second = y[0].rows(2064, 2564);
    EXPECT_EQ(numbers(narrow), numbers(tensor({2051}, DType::bf16, numbers(first))));
    EXPECT_EQ(numbers(rounded), numbers(tensor({500}, DType::bf16, numbers(second))));
    EXPECT_EQ(numbers(y[0].rows(2051, 2064)), numbers(p.rows(2051, 2064)));
    EXPECT_NE(numbers(second), numbers(p.rows(2064, 2564)));
  });
}

}  // namespace
}  // namespace vlm2vec
