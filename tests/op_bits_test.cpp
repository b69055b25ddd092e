// Same bits: results on the CPU depend neither on the number of threads nor on what else is in the batch.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "op_cases.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

class Threads {
 public:
  explicit Threads(int n) : before_(threads()) { set_threads(n); }
  ~Threads() { set_threads(before_); }

 private:
  int before_;
};

void expect_same_bits_for_any_threads(const std::function<Results(Draw&)>& run, int threads = 3) {
  const auto with = [&](int n) {
    const Threads scoped(n);
    Draw draw(Device::cpu, DType::f32);
    return run(draw);
  };
  for (const Simd* isa : available_isas()) {
    SCOPED_TRACE(isa->name);
    const ScopedIsa scoped(*isa);
    const Results one = with(1);
    const Results more = with(threads);
    ASSERT_EQ(one.size(), more.size());
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(one[i], more[i])) << "result " << i;
  }
}

class OpBits : public testing::TestWithParam<OpCase> {};
TEST_P(OpBits, do_not_depend_on_the_threads) {
  expect_same_bits_for_any_threads(
      [](Draw& draw) { return GetParam().run(draw, 301, 263); });  // enough for several ranges
}
INSTANTIATE_TEST_SUITE_P(, OpBits, testing::ValuesIn(op_cases()), [](const auto& info) { return info.param.name; });

Tensor cumulative(const std::vector<int32_t>& ends) {
  std::vector<int32_t> cu{0};
  cu.insert(cu.end(), ends.begin(), ends.end());
  return from_vector(cu);
}
Results packed_attention(const Tensor& x, const Tensor& dy, const Tensor& cu, const AttentionShape& shape) {
  const AttentionResult forward = attention(x, x, x, cu, cu, shape);
  return {forward.o, attention_backward(dy, x, x, x, forward, cu, cu, shape)[0]};
}

// A query's sum over all targets does not depend on its place among the queries.
TEST(InfoNceBits, do_not_depend_on_the_place_in_the_batch) {
  for (const Simd* isa : available_isas()) {
    const ScopedIsa scoped(*isa);
    Draw draw(Device::cpu, DType::f32);
    const Tensor q = draw.normal({70, 40}), t = draw.normal({70, 40});
    std::vector<int32_t> backwards;
    for (int32_t i = 69; i >= 0; --i) backwards.push_back(i);
    const auto forwards = to_vector<float>(infonce(q, t, 3).lse);
    auto turned = to_vector<float>(infonce(gather_rows(q, from_vector(backwards, {70})), t, 3).lse);
    std::reverse(turned.begin(), turned.end());
    EXPECT_EQ(turned, forwards) << isa->name;
  }
}

TEST(AttentionBits, do_not_depend_on_the_threads) {
  const AttentionShape shape{6, 3, 32, true, 0.2, 0, 192, 288};
  expect_same_bits_for_any_threads([&](Draw& draw) {
    return packed_attention(draw.normal({700, 384}), draw.normal({700, 192}),
                            cumulative({7, 40, 41, 41, 500, 530, 700}), shape);
  });
}

// The backward of a long sequence splits its keys and its queries; here the first thread alone would have all of them.
TEST(AttentionBits, of_one_long_sequence_do_not_depend_on_the_threads) {
  for (const bool bf16 : {false, true})
    for (const int window : {0, 130})
      expect_same_bits_for_any_threads(
          [=](Draw& draw) {
            const AttentionShape shape{2, 1, 32, true, 0.2, 0, 64, 96, window, bf16};
            return packed_attention(draw.normal({700, 128}), draw.normal({700, 64}), cumulative({3, 700}), shape);
          },
          8);
}

// A sequence alone has the bits it has in a batch, in the results and in the gradients.
TEST(AttentionBits, do_not_depend_on_the_batch) {
  for (const Simd* isa : available_isas())
    for (const bool causal : {true, false})
      for (const int d : {32, 40}) {
        const ScopedIsa scoped(*isa);
        const AttentionShape shape{4, 2, d, causal, 0.2, 0, 4 * d, 6 * d};
        Draw draw(Device::cpu, DType::f32);
        const std::vector<int32_t> ends{3, 20, 21, 321, 350};
        const Tensor x = draw.normal({350, 8 * d}), dy = draw.normal({350, 4 * d});
        const Results batch = packed_attention(x, dy, cumulative(ends), shape);
        for (size_t i = 0; i < ends.size(); ++i) {
          const int32_t begin = i ? ends[i - 1] : 0, end = ends[i];
          const Results alone =
              packed_attention(x.rows(begin, end), dy.rows(begin, end), cumulative({end - begin}), shape);
          for (size_t n = 0; n < 2; ++n)
            EXPECT_TRUE(same_bits(alone[n], batch[n].rows(begin, end)))
                << isa->name << ", result " << n << ", sequence " << i << ", head size " << d;
        }
      }
}

// A query has the same bits whether it comes alone (the last layer computes the last rows only) or among all queries.
TEST(AttentionBits, of_a_query_do_not_depend_on_other_queries) {
  for (const Simd* isa : available_isas()) {
    const ScopedIsa scoped(*isa);
    Draw draw(Device::cpu, DType::f32);
    const AttentionShape shape{2, 1, 32, true, 0.2};
    const Tensor q = draw.normal({450, 64}), k = draw.normal({450, 32}), v = draw.normal({450, 32});
    const Tensor all = attention(q, k, v, cumulative({450}), cumulative({450}), shape).o;
    for (int32_t i : {0, 5, 191, 192, 300, 449}) {
      const Tensor one =
          attention(q.rows(i, i + 1), k.rows(0, i + 1), v.rows(0, i + 1), cumulative({1}), cumulative({i + 1}), shape)
              .o;
      EXPECT_TRUE(same_bits(one, all.rows(i, i + 1))) << isa->name << ", query " << i;
    }
  }
}

// y(x) for rows that stand at `first` … of a batch.
struct RowCase {
  std::string name;
  std::function<Tensor(const Tensor& x, int64_t first)> y;
};
std::ostream& operator<<(std::ostream& out, const RowCase& c) { return out << c.name; }
class RowBits : public testing::TestWithParam<RowCase> {};

TEST_P(RowBits, do_not_depend_on_the_batch) {
  Draw draw(Device::cpu, DType::f32, 3);
  for (const Simd* isa : available_isas())
    for (const int64_t columns : {5, 64, 131, 1600}) {
      const ScopedIsa scoped(*isa);
      const Tensor x = draw.normal({70, columns}), whole = GetParam().y(x, 0);
      for (int64_t r : {0, 1, 31, 64, 69}) {
        EXPECT_TRUE(same_bits(GetParam().y(x.rows(r, r + 1), r), whole.rows(r, r + 1)))
            << isa->name << ", row " << r << " of " << columns << " columns";
        if (r + 3 > 70) continue;
        EXPECT_TRUE(same_bits(GetParam().y(x.rows(r, r + 3), r), whole.rows(r, r + 3)))
            << isa->name << ", rows from " << r;
      }
    }
}

std::vector<RowCase> row_cases() {
  using T = const Tensor&;
  const auto constant = [](Shape shape) {
    Draw draw(Device::cpu, DType::f32, 9);
    return draw.normal(shape);
  };
  const auto frozen = [](Shape shape) {
    Draw draw(Device::cpu, DType::f32, 9);
    return draw.frozen(shape);
  };
  const auto other = [](T x) { return activate(scale(x, 1.5), Activation::silu); };  // x and dy from one
  const auto keys = [](int64_t first, int64_t n) {
    std::vector<int64_t> values(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) values[size_t(i)] = 100 + first + i;
    return from_vector(values, {n});
  };
  return {
      {"linear",
       [=](T x, int64_t) {
         return matmul(x, constant({77, x.columns()}), false, true, constant({77}));
       }},
      {"linear_bf16",
       [=](T x, int64_t) {
         return matmul(x, frozen({77, x.columns()}), false, true);
       }},
      {"linear_of_tiny_numbers",  // denormal results are zero, in small products and in large ones
       [=](T x, int64_t) {
         return matmul(scale(x, 1e-30), scale(constant({77, x.columns()}), 1e-10), false, true);
       }},
      {"linear_dx",
       [=](T x, int64_t) {
         return matmul(x, constant({x.columns(), 77}));
       }},
      {"rms_norm", [=](T x, int64_t) { return rms_norm(x, constant({x.columns()}), 1e-6).y; }},
      {"add_rms_norm", [=](T x, int64_t) { return add_rms_norm(x, other(x), constant({x.columns()}), 1e-6).y; }},
      {"rms_norm_dx",
       [=](T x, int64_t) {
         return rms_norm_dx(other(x), x, constant({x.columns()}), rms_norm(x, constant({x.columns()}), 1e-6).rstd);
       }},
      {"layer_norm",
       [=](T x, int64_t) { return layer_norm(x, constant({x.columns()}), constant({x.columns()}), 1e-6).y; }},
      {"layer_norm_dx",
       [=](T x, int64_t) {
         const LayerNormed n = layer_norm(x, constant({x.columns()}), constant({x.columns()}), 1e-6);
         return layer_norm_dx(other(x), x, constant({x.columns()}), n.mean, n.rstd);
       }},
      {"l2_normalize", [=](T x, int64_t) { return l2_normalize(x, 1e-12).y; }},
      {"l2_normalize_dx",
       [=](T x, int64_t) {
         const L2Normalized n = l2_normalize(x, 1e-12);
         return l2_normalize_dx(other(x), n.y, n.norm, 1e-12, x.dtype());
       }},
      {"gelu", [=](T x, int64_t) { return activate(x, Activation::gelu); }},
      {"swiglu", [=](T x, int64_t) { return swiglu(x, other(x)); }},
      {"dropout", [=](T x, int64_t first) { return dropout(x, keys(first, x.rows()), 0.3, 5); }},
      {"rope",
       [=](T x, int64_t first) {
         Draw draw(Device::cpu, DType::f32, 4);
         const RopeTable table = draw.angles(80, 2);
         return rope(x, {table.cos.rows(first, first + x.rows()), table.sin.rows(first, first + x.rows())},
                     int(x.columns() / 4));
       }},
  };
}
INSTANTIATE_TEST_SUITE_P(, RowBits, testing::ValuesIn(row_cases()), [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace vlm2vec
