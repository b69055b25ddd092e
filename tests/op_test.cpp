// Every op agrees with its definition, the scalar kernel in f64, on every device and under every instruction set. The
// definitions are held against plain loops in kernels_*_test.cpp; f64 on the CPU runs them, too.
#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.h"
#include "devices.h"
#include "op_cases.h"
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec {
namespace {

// Of a result's largest element; the errors of f32 sums of up to 260 terms.
double tolerance(Device device) { return device == Device::cpu ? 3e-6 : 4e-6; }

// Results are allocated uninitialised: with NaN in the blocks they will get, a number that nobody writes shows.
Results run_on_poison(const std::function<Results()>& run) {
  for (const Tensor& t : run())
    if (is_float(t.dtype())) copy_bytes(full(t.shape(), NAN, t.dtype(), Device::cpu), t);
  return run();
}

void expect_close(const Results& got, const Results& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t n = 0; n < got.size(); ++n) {
    ASSERT_EQ(got[n].shape(), want[n].shape());
    const auto g = to_vector<double>(got[n]), w = to_vector<double>(want[n]);
    double size = 0;
    for (double x : w)
      if (std::isfinite(x)) size = std::max(size, std::abs(x));
    for (size_t i = 0; i < g.size(); ++i)
      ASSERT_TRUE(g[i] == w[i] || std::abs(g[i] - w[i]) <= tolerance * size)
          << "result " << n << ", element " << i << " of " << to_string(got[n].shape()) << " is " << g[i]
          << ", expected " << w[i];
  }
}

void expect_agreement(const std::function<Results(Draw&)>& run) {
  const auto on = [&](Device device, DType dtype) {
    return run_on_poison([&] {
      Draw draw(device, dtype);
      return run(draw);
    });
  };
  const Results definition = on(Device::emu, DType::f64);
  for (const Device device : kernel_devices()) {
    SCOPED_TRACE(name_of(device));
    expect_close(on(device, DType::f32), definition, tolerance(device));
  }
  for (const Simd* isa : available_isas()) {
    SCOPED_TRACE(isa->name);
    const ScopedIsa scoped(*isa);
    expect_close(on(Device::cpu, DType::f32), definition, tolerance(Device::cpu));
  }
}

// bf16 activations against f64 on the same numbers: a few roundings of 2⁻⁹ of the largest.
void expect_agreement_in_bf16(const std::function<Results(Draw&)>& run) {
  const auto on = [&](Device device, DType dtype) {
    return run_on_poison([&] {
      Draw draw(device, dtype, 1, true);
      return run(draw);
    });
  };
  for (const Device device : kernel_devices()) {
    SCOPED_TRACE(name_of(device));
    expect_close(on(device, DType::bf16), on(Device::emu, DType::f64), 0x1p-7);
  }
}

class Op : public testing::TestWithParam<OpCase> {};

TEST_P(Op, agrees_in_bf16) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {5, 3}, {19, 16}, {7, 130}, {67, 5}}) {
    SCOPED_TRACE(to_string({rows, columns}));
    expect_agreement_in_bf16([&, r = rows, c = columns](Draw& draw) { return GetParam().run(draw, r, c); });
  }
}

TEST_P(Op, agrees_on_every_device) {
  for (const auto& [rows, columns] :
       {std::pair<int64_t, int64_t>{1, 1}, {1, 37}, {5, 3}, {19, 16}, {7, 130}, {67, 5}, {2, 259}}) {
    SCOPED_TRACE(to_string({rows, columns}));
    expect_agreement([&, r = rows, c = columns](Draw& draw) { return GetParam().run(draw, r, c); });
  }
}

INSTANTIATE_TEST_SUITE_P(, Op, testing::ValuesIn(op_cases()), [](const auto& info) { return info.param.name; });

struct AttentionCase {
  std::string name;
  AttentionShape shape;
  std::vector<int32_t> queries, keys;  // lengths
  int spare_columns = 0;               // fused q, k, v with so many columns of no head, if ≥ 0
};

Tensor cumulative(const std::vector<int32_t>& lengths, Device device) {
  std::vector<int32_t> cu{0};
  for (int32_t n : lengths) cu.push_back(cu.back() + n);
  return from_vector(cu, device);
}

Results run_attention(Draw& draw, const AttentionCase& c, bool fused) {
  AttentionShape s = c.shape;
  const Device device = draw.zeros({1}).device();
  const Tensor cu_q = cumulative(c.queries, device), cu_k = cumulative(c.keys, device);
  const int64_t nq = to_vector<int32_t>(cu_q).back(), nk = to_vector<int32_t>(cu_k).back();
  const int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  Tensor q, k, v;
  if (fused) {
    s.q_column = 2, s.k_column = 2 + int(q_width), s.v_column = 3 + int(q_width + kv_width);
    q = k = v = draw.normal({nq, q_width + 2 * kv_width + 5});
  } else {
    q = draw.normal({nq, q_width}), k = draw.normal({nk, kv_width}), v = draw.normal({nk, kv_width});
  }
  const AttentionResult forward = attention(q, k, v, cu_q, cu_k, s);
  Results results = attention_backward(draw.normal(forward.o.shape()), q, k, v, forward, cu_q, cu_k, s);
  results.push_back(forward.o), results.push_back(forward.lse);
  return results;
}

class AttentionOp : public testing::TestWithParam<int> {};

TEST_P(AttentionOp, agrees_on_every_device) {
  const int d = GetParam();
  const double scale = 1 / std::sqrt(double(d));
  const std::vector<AttentionCase> cases = {
      {"causal, grouped", {4, 2, d, true, scale}, {5, 1, 18}, {5, 1, 18}},
      {"full", {2, 2, d, false, scale}, {3, 33}, {3, 33}},
      {"last rows only", {2, 1, d, true, scale}, {1, 1, 1}, {4, 1, 35}},
      {"cross", {2, 1, d, false, scale}, {4, 2, 0}, {1, 7, 3}},
      {"many short ones", {2, 1, d, true, scale}, {0, 1, 0, 16, 1, 2, 0, 0, 3}, {0, 1, 0, 32, 1, 2, 4, 0, 3}},
      {"queries that see no key", {1, 1, d, true, scale}, {5, 2, 3}, {3, 0, 3}},
  };
  for (const AttentionCase& c : cases) {
    SCOPED_TRACE(c.name);
    expect_agreement([&](Draw& draw) { return run_attention(draw, c, false); });
    if (c.queries == c.keys) expect_agreement([&](Draw& draw) { return run_attention(draw, c, true); });
    expect_agreement_in_bf16([&](Draw& draw) { return run_attention(draw, c, c.queries == c.keys); });
  }
}

INSTANTIATE_TEST_SUITE_P(, AttentionOp, testing::Values(32, 64, 72, 80, 88, 96, 128),
                         testing::PrintToStringParamName());

TEST(InfoNce, takes_the_first_of_equal_scores) {
  for (const Device device : {Device::cpu, Device::emu}) {
    const Tensor q = from_vector(std::vector<float>{1, 0, 0, 1}, {2, 2}, device);
    const Tensor t = from_vector(std::vector<float>{0, 1, 1, 0, 1, 0, 0, 1}, {4, 2}, device);
    EXPECT_EQ(to_vector<int32_t>(infonce(q, t, 10).best), (std::vector<int32_t>{1, 0})) << name_of(device);
  }
}

// Scores in a basis are 1 at the own target and 0 elsewhere: of the four wrong answers of query 0 two are masked.
TEST(InfoNce, leaves_out_the_others_of_a_group) {
  for (const Device device : {Device::cpu, Device::emu}) {
    const Tensor q = from_vector(std::vector<float>{1, 0}, {1, 2}, device),
                 t = from_vector(std::vector<float>{1, 0, 0, 1, 1, 0, 1, 0, 0, 1}, {5, 2}, device);
    const Matching matching{from_vector(std::vector<int32_t>{2}, {1}, device),
                            from_vector(std::vector<int32_t>{5, 1, 5, 5, 0}, {5}, device)};
    const InfoNce r = infonce(q, t, 1, matching);
    const double z = std::exp(1) + 2;
    EXPECT_NEAR(item(r.loss), std::log(z) - 1, 1e-6) << name_of(device);
    EXPECT_EQ(to_vector<int32_t>(r.best), std::vector<int32_t>{2});
    const auto [dq, dt] = infonce_backward(from_vector(std::vector<float>{1}, {1}, device), q, t, r.lse, 1, matching);
    const double own = std::exp(1) / z - 1, other = 1 / z;
    const std::vector<double> d = {0, 0, other, 0, own, 0, 0, 0, other, 0};
    for (size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(to_vector<float>(dt)[i], d[i], 1e-6) << i;
  }
  Draw draw(Device::cpu, DType::f32);
  const Tensor a = draw.normal({2, 3});
  expect_error("infonce: 1 labels of 2 queries", [&] {
    infonce(a, a, 1, {from_vector(std::vector<int32_t>{0}, {1}), {}});
  });
}

// Their loss and gradients are those of rounded q and t, but the products with q and t are not rounded.
TEST(InfoNce, rounds_the_factors_of_scores_if_asked) {
  for (const Device device : {Device::cpu, Device::emu}) {
    Draw draw(device, DType::f32);
    const Tensor q = draw.normal({6, 40}), t = draw.normal({12, 40}), dloss = draw.normal({6});
    const auto rounded = [](const Tensor& x) { return x.to(DType::bf16).to(DType::f32); };
    const InfoNce want = infonce(rounded(q), rounded(t), 0.5), got = infonce(q, t, 0.5, {}, true);
    EXPECT_EQ(to_vector<float>(got.loss), to_vector<float>(want.loss)) << name_of(device);
    EXPECT_EQ(to_vector<float>(got.lse), to_vector<float>(want.lse));
    EXPECT_NE(to_vector<float>(got.loss), to_vector<float>(infonce(q, t, 0.5).loss));
    const auto rounded_dt = infonce_backward(dloss, q, rounded(t), want.lse, 0.5, {}, true).second;
    EXPECT_EQ(to_vector<float>(infonce_backward(dloss, q, t, want.lse, 0.5, {}, true).second),
              to_vector<float>(rounded_dt));
    EXPECT_NE(to_vector<float>(infonce_backward(dloss, rounded(q), rounded(t), want.lse, 0.5).second),
              to_vector<float>(rounded_dt));
  }
}

TEST(InfoNce, survives_more_queries_than_a_strip) {  // 64 on the CPU, 256 in the kernel
  expect_agreement([](Draw& draw) {
    const Tensor q = draw.normal({130, 9}), t = draw.normal({130, 9});
    const InfoNce r = infonce(q, t, 2);
    const auto [dq, dt] = infonce_backward(draw.normal({130}), q, t, r.lse, 2);
    return Results{r.loss, r.lse, r.best, dq, dt};
  });
}

TEST(OpErrors, name_the_op_and_what_came) {
  Draw draw(Device::cpu, DType::f32);
  const Tensor a = draw.normal({2, 3}), b = draw.normal({2, 4}), half = a.to(DType::bf16);
  expect_error("add: f32[2, 3] and f32[2, 4]", [&] { add(a, b); });
  expect_error("the inner dimensions 3 and 2 differ", [&] { matmul(a, b); });
  expect_error("matmul: the bias is f32[2, 4]", [&] { matmul(a, a, false, true, b); });
  expect_error("add: on the CPU expected f32, got bf16[2, 3]", [&] { add(half, half); });
  expect_error("expected one type, or f32 and bf16", [&] { matmul(half, a, false, true); });
  expect_error("gather_rows: number 1 asks for row 2 of f32[2, 3]", [&] {
    gather_rows(a, from_vector(std::vector<int32_t>{0, 2}, {2}));
  });
  expect_error("scatter_add_rows: number 0 asks for row -1", [&] {
    scatter_add_rows_to(draw.normal({1, 3}), from_vector(std::vector<int32_t>{-1}, {1}), a);
  });
  expect_error("infonce: 2 queries of 3 and 3 targets of 3", [&] { infonce(a, draw.normal({3, 3}), 1); });
  expect_error("dropout: probability 1", [&] { dropout(a, draw.keys(2), 1, 0); });
  const AttentionShape shape{1, 1, 3, true, 1};
  const Tensor k = draw.normal({2, 3}), v = draw.normal({2, 3}), cu = cumulative({2}, Device::cpu);
  expect_error("attention: cu_q ends at 3", [&] { attention(a, k, v, cumulative({3}, Device::cpu), cu, shape); });
  expect_error("do not hold 2 and 2 heads of 3", [&] { attention(a, k, v, cu, cu, {2, 2, 3, true, 1}); });
}

// The emulator's kernels could read host memory, those of a GPU could not.
TEST(OpErrors, name_tensors_of_two_devices) {
  const Tensor here = Draw(Device::cpu, DType::f32).normal({2, 3}), there = here.to(Device::emu);
  expect_error("add: f32[2, 3] lies on emu, f32[2, 3] on cpu", [&] { add(there, here); });
  expect_error("matmul: f32[2, 3] lies on cpu, f32[2, 3] on emu", [&] { matmul(here, there, false, true); });
}

// Heads of q, k and v may lie side by side in one tensor, but not on one another: a gradient would be written twice.
TEST(OpErrors, attention_heads_overlap) {
  Draw draw(Device::cpu, DType::f32);
  const Tensor packed = draw.normal({2, 9}), other = draw.normal({2, 9}), cu = cumulative({2}, Device::cpu);
  const auto at = [](int q, int k, int v) { return AttentionShape{1, 1, 3, true, 1, q, k, v}; };
  EXPECT_NO_THROW(attention(packed, packed, packed, cu, cu, at(0, 3, 6)));
  EXPECT_NO_THROW(attention(packed, packed, packed, cu, cu, at(6, 3, 0)));
  EXPECT_NO_THROW(attention(packed, other, other, cu, cu, at(0, 0, 3)));
  for (const AttentionShape& shape : {at(0, 2, 6), at(0, 3, 5), at(5, 0, 3), at(0, 0, 0)})
    expect_error("overlap", [&] { attention(packed, packed, packed, cu, cu, shape); });
  expect_error("overlap", [&] { attention(packed, other, other, cu, cu, at(0, 0, 2)); });
}

}  // namespace
}  // namespace vlm2vec
