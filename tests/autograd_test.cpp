// Every op of the formula sheet passes a central-difference check in f64, and equals its composition from simple ops in
// value and gradient.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

using Vars = std::vector<Var>;
using Function = std::function<Var(const Vars&)>;

Tensor normal(const Shape& shape, uint64_t seed) {
  Random random(seed);
  std::vector<double> values(size_t(numel(shape)));
  for (double& value : values) value = random.normal();
  return from_vector(values, shape);
}
std::vector<Tensor> normals(const std::vector<Shape>& shapes) {
  std::vector<Tensor> all;
  for (const Shape& shape : shapes) all.push_back(normal(shape, 10 + all.size()));
  return all;
}
Tensor integers(const std::vector<int32_t>& values) { return from_vector(values); }
RopeTable angles(int64_t rows, int64_t half) {
  std::vector<double> cos, sin;
  Random random(99);
  for (int64_t i = 0; i < rows * half; ++i) {
    const double angle = 3 * random.normal();
    cos.push_back(std::cos(angle)), sin.push_back(std::sin(angle));
  }
  return {from_vector(cos, {rows, half}), from_vector(sin, {rows, half})};
}

// ---- simple ops to compose from
// -----------------------------------------------------------------------------------------
Var pointwise(const Var& x, double (*f)(double), double (*slope)(double)) {
  const auto map = [](const Tensor& t, double (*g)(double)) {
    auto values = to_vector<double>(t);
    for (double& v : values) v = g(v);
    return from_vector(values, t.shape());
  };
  const Tensor X = x.value();
  return record("pointwise", map(X, f), {{x, [=](const Tensor& dy) { return multiply(dy, map(X, slope)); }}});
}
Var exp(const Var& x) {
  constexpr auto f = +[](double v) { return std::exp(v); };
  return pointwise(x, f, f);
}
Var log(const Var& x) {
  return pointwise(
      x, [](double v) { return std::log(v); }, [](double v) { return 1 / v; });
}
Var reciprocal(const Var& x) {
  return pointwise(
      x, [](double v) { return 1 / v; }, [](double v) { return -1 / (v * v); });
}
Var rsqrt(const Var& x) {
  return pointwise(
      x, [](double v) { return 1 / std::sqrt(v); }, [](double v) { return -0.5 * std::pow(v, -1.5); });
}

Var ones(int64_t rows, int64_t columns) { return full({rows, columns}, 1, DType::f64, Device::cpu); }
Var row_sums(const Var& x) { return matmul(x, ones(x.value().columns(), 1)); }
Var over_columns(const Var& v, int64_t columns) { return matmul(v, ones(1, columns)); }  // [n, 1] → [n, columns]
Var over_rows(const Var& v, int64_t rows) {
  return matmul(ones(rows, 1), view(v, {1, v.value().numel()}));
}  // [n] → [rows, n]
Var row_means(const Var& x) {
  return over_columns(scale(row_sums(x), 1.0 / double(x.value().columns())), x.value().columns());
}
Var plus(const Var& x, double c) { return x + full(x.shape(), c, DType::f64, Device::cpu); }
// [rows, columns], 1 at (i, at[i]).
Var picks(const std::vector<int32_t>& at, int64_t columns) {
  std::vector<double> values(at.size() * size_t(columns));
  for (size_t i = 0; i < at.size(); ++i) values[i * size_t(columns) + size_t(at[i])] = 1;
  return from_vector(values, {int64_t(at.size()), columns});
}
Var columns_of(const Var& x, int64_t first, int64_t count) {
  std::vector<int32_t> at(static_cast<size_t>(count));
  std::iota(at.begin(), at.end(), int32_t(first));
  return linear(x, picks(at, x.value().columns()));
}
Var softmax(const Var& s) {
  const Var e = exp(s);
  return e * over_columns(reciprocal(row_sums(e)), s.value().columns());
}
// lse(s[i]) − s[i, labels[i]] of each row i.
Var cross_entropy(const Var& s, const std::vector<int32_t>& labels) {
  const Var right = row_sums(s * picks(labels, s.value().columns()));
  return view(log(row_sums(exp(s))) + scale(right, -1), {int64_t(labels.size())});
}

// softmax(scale·q kᵀ + mask) v, sequence by sequence and head by head, heads put back in their columns.
Var plain_attention(const Var& q, const Var& k, const Var& v, const std::vector<int32_t>& cu_q,
                    const std::vector<int32_t>& cu_k, const AttentionShape& s) {
  const auto range = [](int32_t begin, int32_t end) {
    std::vector<int32_t> rows(size_t(end - begin));
    std::iota(rows.begin(), rows.end(), begin);
    return integers(rows);
  };
  Vars sequences;
  for (size_t i = 0; i + 1 < cu_q.size(); ++i) {
    const int32_t nq = cu_q[i + 1] - cu_q[i], nk = cu_k[i + 1] - cu_k[i];
    std::vector<double> mask(size_t(nq * nk));
    const auto visible = [&](int32_t ago) { return !s.causal || (ago >= 0 && (s.window == 0 || ago < s.window)); };
    for (int32_t a = 0; a < nq; ++a)
      for (int32_t b = 0; b < nk; ++b) mask[size_t(a * nk + b)] = visible(a + nk - nq - b) ? 0 : -1e9;
    Var joined;
    for (int h = 0; h < s.heads; ++h) {
      const int kv = h / (s.heads / s.kv_heads), d = s.head_dim;
      const Var qh = columns_of(gather_rows(q, range(cu_q[i], cu_q[i + 1])), s.q_column + h * d, d);
      const Var kh = columns_of(gather_rows(k, range(cu_k[i], cu_k[i + 1])), s.k_column + kv * d, d);
      const Var vh = columns_of(gather_rows(v, range(cu_k[i], cu_k[i + 1])), s.v_column + kv * d, d);
      const Var o = matmul(softmax(scale(linear(qh, kh), s.scale) + from_vector(mask, {nq, nk})), vh);
      std::vector<int32_t> at(static_cast<size_t>(d));
      std::iota(at.begin(), at.end(), h * d);
      const Var placed = matmul(o, picks(at, s.heads * d));
      joined = h == 0 ? placed : joined + placed;
    }
    sequences.push_back(joined);
  }
  return concat_rows(sequences);
}

// ---- the table
// --------------------------------------------------------------------------------------------------------
struct Formula {
  std::string name;
  std::vector<Tensor> inputs;
  Function op;
  Function composition;  // none: the op is simple itself
};
std::ostream& operator<<(std::ostream& out, const Formula& f) { return out << f.name; }

std::vector<Formula> formulas() {
  const AttentionShape causal{4, 2, 3, true, 0.7}, full_{2, 2, 2, false, 0.7}, fused{2, 1, 2, true, 0.7, 1, 5, 7},
      windowed{4, 2, 3, true, 0.7, 0, 0, 0, 2};
  const Tensor keys = from_vector(std::vector<int64_t>{5, 6, 5}, {3});
  const std::vector<int32_t> ids{2, 0, 2, 3}, rows{3, 1}, cu{0, 3, 4}, cu_q{0, 1, 3}, cu_k{0, 4, 6};
  const Tensor shares = from_vector(std::vector<double>{0.3, -1.2, 0.5, 2, -0.7, 0.9}, {3, 2});
  const auto sigmoid_product = [](const Var& x, double a) { return x * reciprocal(plus(exp(scale(x, -a)), 1)); };
  const auto normed = [](const Var& x, double eps) {
    return x * over_columns(rsqrt(plus(scale(row_sums(x * x), 1.0 / double(x.value().columns())), eps)),
                            x.value().columns());
  };
  return {
      {"add", normals({{2, 3}, {2, 3}}), [](const Vars& v) { return v[0] + v[1]; }, {}},
      {"multiply", normals({{2, 3}, {2, 3}}), [](const Vars& v) { return v[0] * v[1]; }, {}},
      {"square", normals({{2, 3}}), [](const Vars& v) { return v[0] * v[0]; }, {}},
      {"scale", normals({{2, 3}}), [](const Vars& v) { return scale(v[0], -1.7); }, {}},
      {"scale_columns", normals({{3, 4}, {4}, {4}}), [](const Vars& v) { return scale_columns(v[0], v[1], v[2]); },
       [](const Vars& v) {
         const Var ones(full({3, 1}, 1, DType::f64, Device::cpu));
         return v[0] * matmul(ones, view(v[1], {1, 4})) + matmul(ones, view(v[2], {1, 4}));
       }},
      {"scale_columns_without_bias",
       normals({{3, 4}, {4}}),
       [](const Vars& v) { return scale_columns(v[0], v[1]); },
       {}},
      {"silu", normals({{2, 9}}), [](const Vars& v) { return activate(v[0], Activation::silu); },
       [=](const Vars& v) { return sigmoid_product(v[0], 1); }},
      {"gelu", normals({{2, 9}}), [](const Vars& v) { return activate(v[0], Activation::gelu); },
       [](const Vars& v) {
         const auto normal_below = +[](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
         const auto density = +[](double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI); };
         return v[0] * pointwise(v[0], normal_below, density);
       }},
      {"quick_gelu", normals({{2, 9}}), [](const Vars& v) { return activate(v[0], Activation::quick_gelu); },
       [=](const Vars& v) { return sigmoid_product(v[0], 1.702); }},
      {"gelu_tanh", normals({{2, 9}}), [](const Vars& v) { return activate(v[0], Activation::gelu_tanh); },
       [=](const Vars& v) {
         constexpr double rate = 0.7978845608028654;  // √(2/π)
         const auto gate = +[](double x) { return 0.5 + 0.5 * std::tanh(rate * (x + 0.044715 * x * x * x)); };
         const auto slope = +[](double x) {
           const double t = std::tanh(rate * (x + 0.044715 * x * x * x));
           return 0.5 * (1 - t * t) * rate * (1 + 3 * 0.044715 * x * x);
         };
         return v[0] * pointwise(v[0], gate, slope);
       }},
      {"swiglu", normals({{2, 5}, {2, 5}}), [](const Vars& v) { return swiglu(v[0], v[1]); },
       [](const Vars& v) { return activate(v[0], Activation::silu) * v[1]; }},
      {"packed_swiglu", normals({{3, 10}}), [](const Vars& v) { return swiglu(v[0]); },
       [](const Vars& v) {
         const Var halves = view(v[0], {6, 5});
         const auto rows = [](std::vector<int32_t> ids) { return from_vector(ids); };
         return activate(gather_rows(halves, rows({0, 2, 4})), Activation::silu) * gather_rows(halves, rows({1, 3, 5}));
       }},
      {"dropout", normals({{3, 5}}), [=](const Vars& v) { return dropout(v[0], keys, 0.4, 8); },
       [=](const Vars& v) {
         return v[0] * Var(dropout(full({3, 5}, 1, DType::f64, Device::cpu), keys, 0.4, 8));
       }},
      {"view", normals({{2, 6}}),
       [](const Vars& v) {
         return view(v[0], {3, -1}) * view(v[0], {3, 4});
       },
       [](const Vars& v) {
         return view(v[0] * v[0], {3, 4});
       }},
      {"gather_rows", normals({{4, 3}}), [=](const Vars& v) { return gather_rows(v[0], integers(ids)); },
       [=](const Vars& v) { return matmul(picks(ids, 4), v[0]); }},
      {"gather_rows_of_a_result", normals({{4, 3}}),
       [=](const Vars& v) { return gather_rows(v[0] * v[0], integers(ids)); },
       [=](const Vars& v) { return matmul(picks(ids, 4), v[0] * v[0]); }},
      {"blend_rows", normals({{4, 3}}),
       [=](const Vars& v) {
         return blend_rows(v[0], integers({3, 0, 3, 1, 1, 3}).view({3, 2}), shares);
       },
       [=](const Vars& v) {
         const Var each = view(Var(shares), {6, 1}),
                   all = over_columns(each, 3) * matmul(picks({3, 0, 3, 1, 1, 3}, 4), v[0]);
         return gather_rows(all, integers({0, 2, 4})) + gather_rows(all, integers({1, 3, 5}));
       }},
      {"replace_rows", normals({{4, 3}, {2, 3}}),
       [=](const Vars& v) { return replace_rows(v[0], integers(rows), v[1]); },
       [=](const Vars& v) {
         return matmul(picks({0, 1, 2, 1}, 4) *
                           from_vector(std::vector<double>{1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0}, {4, 4}),
                       v[0]) +
                matmul(from_vector(std::vector<double>{0, 0, 0, 1, 0, 0, 1, 0}, {4, 2}), v[1]);
       }},
      {"concat_rows", normals({{1, 3}, {2, 3}}),
       [](const Vars& v) {
         return concat_rows({v[0], v[1], v[0]});
       },
       [](const Vars& v) {
         return matmul(from_vector(std::vector<double>{1, 0, 0, 1}, {4, 1}), v[0]) +
                matmul(from_vector(std::vector<double>{0, 0, 1, 0, 0, 1, 0, 0}, {4, 2}), v[1]);
       }},
      {"matmul", normals({{2, 3}, {3, 4}}), [](const Vars& v) { return matmul(v[0], v[1]); }, {}},
      {"linear", normals({{3, 4}, {2, 4}, {2}}), [](const Vars& v) { return linear(v[0], v[1], v[2]); },
       [](const Vars& v) {  // x Wᵀ by columns of the identity: Wᵀ = Σ over rows of W
         Var y = over_rows(v[2], 3);
         for (int32_t out : {0, 1})
           y = y + matmul(matmul(v[0], view(gather_rows(v[1], integers({out})), {4, 1})), picks({out}, 2));
         return y;
       }},
      {"linear_without_bias", normals({{3, 4}, {2, 4}}), [](const Vars& v) { return linear(v[0], v[1]); }, {}},
      {"rms_norm", normals({{3, 5}, {5}}), [](const Vars& v) { return rms_norm(v[0], v[1], 0.1); },
       [=](const Vars& v) { return normed(v[0], 0.1) * over_rows(v[1], 3); }},
      {"layer_norm", normals({{3, 5}, {5}, {5}}), [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 0.1); },
       [=](const Vars& v) {
         return normed(v[0] + scale(row_means(v[0]), -1), 0.1) * over_rows(v[1], 3) + over_rows(v[2], 3);
       }},
      {"add_rms_norm", normals({{3, 5}, {3, 5}, {5}}),
       [](const Vars& v) {
         const Residual r = add_rms_norm(v[0], v[1], v[2], 0.1);
         return r.sum * r.normed;
       },
       [=](const Vars& v) { return (v[0] + v[1]) * normed(v[0] + v[1], 0.1) * over_rows(v[2], 3); }},
      {"add_layer_norm", normals({{3, 5}, {3, 5}, {5}, {5}}),
       [](const Vars& v) {
         const Residual r = add_layer_norm(v[0], v[1], v[2], v[3], 0.1);
         return r.sum * r.normed;
       },
       [](const Vars& v) { return (v[0] + v[1]) * layer_norm(v[0] + v[1], v[2], v[3], 0.1); }},
      {"l2_normalize", normals({{3, 5}}), [](const Vars& v) { return l2_normalize(v[0]); },
       [=](const Vars& v) { return scale(normed(v[0], 0), 1 / std::sqrt(5)); }},
      {"l2_normalize_short", normals({{3, 5}}), [](const Vars& v) { return l2_normalize(v[0], 100); },
       [](const Vars& v) { return scale(v[0], 0.01); }},
      {"rope", normals({{3, 10}}), [](const Vars& v) { return rope(v[0], angles(3, 2), 2); },
       [](const Vars& v) {
         const RopeTable t = angles(3, 2);
         const Var cos(t.cos), sin(t.sin);
         Var y = matmul(columns_of(v[0], 8, 2), picks({8, 9}, 10));  // behind the heads
         for (int32_t first : {0, 4}) {
           const Var a = columns_of(v[0], first, 2), b = columns_of(v[0], first + 2, 2);
           y = y + matmul(a * cos + scale(b * sin, -1), picks({first, first + 1}, 10)) +
               matmul(b * cos + a * sin, picks({first + 2, first + 3}, 10));
         }
         return y;
       }},
      {"attention_causal", normals({{4, 12}, {4, 6}, {4, 6}}),
       [=](const Vars& v) { return attention(v[0], v[1], v[2], integers(cu), integers(cu), causal); },
       [=](const Vars& v) { return plain_attention(v[0], v[1], v[2], cu, cu, causal); }},
      {"attention_window", normals({{4, 12}, {4, 6}, {4, 6}}),
       [=](const Vars& v) { return attention(v[0], v[1], v[2], integers(cu), integers(cu), windowed); },
       [=](const Vars& v) { return plain_attention(v[0], v[1], v[2], cu, cu, windowed); }},
      {"attention_full", normals({{4, 4}, {4, 4}, {4, 4}}),
       [=](const Vars& v) { return attention(v[0], v[1], v[2], integers(cu), integers(cu), full_); },
       [=](const Vars& v) { return plain_attention(v[0], v[1], v[2], cu, cu, full_); }},
      {"attention_of_the_last_rows", normals({{3, 12}, {6, 6}, {6, 6}}),
       [=](const Vars& v) { return attention(v[0], v[1], v[2], integers(cu_q), integers(cu_k), causal); },
       [=](const Vars& v) { return plain_attention(v[0], v[1], v[2], cu_q, cu_k, causal); }},
      {"attention_fused", normals({{4, 10}}),
       [=](const Vars& v) { return attention(v[0], integers(cu), fused); },  // columns 0 and 9 are spare
       [=](const Vars& v) { return plain_attention(v[0], v[0], v[0], cu, cu, fused); }},
      {"attention_of_one_variable", normals({{4, 10}}),
       [=](const Vars& v) { return attention(v[0], v[0], v[0], integers(cu), integers(cu), fused); },
       [=](const Vars& v) { return plain_attention(v[0], v[0], v[0], cu, cu, fused); }},
      {"mean", normals({{2, 3}}), [](const Vars& v) { return mean(v[0]); },
       [](const Vars& v) {
         return view(scale(row_sums(view(v[0], {1, 6})), 1.0 / 6), {1});
       }},
      {"info_nce", normals({{3, 4}, {6, 4}}), [](const Vars& v) { return info_nce(v[0], v[1], 0.5).loss; },
       [](const Vars& v) {
         return mean(cross_entropy(scale(linear(v[0], v[1]), 2), {0, 2, 4}));
       }},
      // Query 0 belongs to target 1 and query 1 to target 3; of group 7 only target 1 counts for query 0.
      {"info_nce_of_groups", normals({{2, 4}, {5, 4}}),
       [=](const Vars& v) {
         return info_nce(v[0], v[1], 0.5, {integers({1, 3}), integers({7, 7, 0, 2, 7})}).loss;
       },
       [=](const Vars& v) {
         const auto loss = [&](int32_t query, const std::vector<int32_t>& targets, int32_t label) {
           const Var scores = linear(gather_rows(v[0], integers({query})), gather_rows(v[1], integers(targets)));
           return cross_entropy(scale(scores, 2), {label});
         };
         return mean(concat_rows({loss(0, {1, 2, 3}, 0), loss(1, {0, 1, 2, 3, 4}, 3)}));
       }},
      {"checkpoint", normals({{3, 5}, {4, 5}}),
       [](const Vars& v) {
         return checkpoint([w = v[1]](const Var& x) { return activate(linear(x, w), Activation::silu); }, v[0] * v[0]);
       },
       [](const Vars& v) { return activate(linear(v[0] * v[0], v[1]), Activation::silu); }},
  };
}

class AutogradOp : public testing::TestWithParam<Formula> {};
class FusedOp : public testing::TestWithParam<Formula> {};  // those with a composition

TEST_P(AutogradOp, has_the_gradient_of_differences) { EXPECT_LE(gradcheck(GetParam().op, GetParam().inputs), 1e-7); }

TEST_P(FusedOp, equals_its_composition) {
  const Formula& f = GetParam();
  const auto run = [&](const Function& g) {
    Vars leaves;
    for (const Tensor& x : f.inputs) leaves.push_back(Var::leaf(x));
    const Var y = g(leaves);
    y.backward(normal(y.shape(), 5));
    std::vector<std::vector<double>> results{to_vector<double>(y.value())};
    for (const Var& leaf : leaves) results.push_back(to_vector<double>(leaf.grad()));
    return results;
  };
  const auto fused = run(f.op), composed = run(f.composition);
  for (size_t n = 0; n < fused.size(); ++n) {
    ASSERT_EQ(fused[n].size(), composed[n].size());
    for (size_t i = 0; i < fused[n].size(); ++i)
      ASSERT_NEAR(fused[n][i], composed[n][i], 1e-12 * (1 + std::abs(composed[n][i])))
          << (n ? "gradient of input " + std::to_string(n - 1) : "value") << ", element " << i;
  }
}

std::vector<Formula> fused_formulas() {
  std::vector<Formula> fused = formulas();
  std::erase_if(fused, [](const Formula& f) { return !f.composition; });
  return fused;
}

INSTANTIATE_TEST_SUITE_P(, AutogradOp, testing::ValuesIn(formulas()), [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(, FusedOp, testing::ValuesIn(fused_formulas()),
                         [](const auto& info) { return info.param.name; });

// With bf16 products the value and all gradients are those of f32 products of rounded factors.
double largest_difference(const Tensor& a, const Tensor& b) {
  const auto x = to_vector<float>(a), y = to_vector<float>(b);
  double most = x.size() == y.size() ? 0 : INFINITY;
  for (size_t i = 0; i < x.size() && i < y.size(); ++i) most = std::max(most, double(std::abs(x[i] - y[i])));
  return most;
}

TEST(Linear, rounds_the_factors_of_bf16_products) {
  const auto f32 = [](const Tensor& x) { return x.to(DType::f32); };
  const auto rounded = [](const Tensor& x) { return x.to(DType::bf16).to(DType::f32); };
  const Tensor x = f32(normal({7, 40}, 1)), w = f32(normal({9, 40}, 2)), b = f32(normal({9}, 3)),
               dy = f32(normal({7, 9}, 4));
  const auto run = [&](const Tensor& x, const Tensor& w, const Tensor& dy, bool bf16_products) {
    const Var vx = Var::leaf(x), vw = Var::leaf(w);
    const Var y = linear(vx, vw, b, bf16_products);
    y.backward(dy);
    return std::vector<Tensor>{y.value(), vx.grad(), vw.grad()};
  };
  for (const Simd* isa : available_isas()) {
    const ScopedIsa scoped(*isa);
    const auto narrow = run(x, w, dy, true), wide = run(rounded(x), rounded(w), rounded(dy), false);
    // Products of bf16 in hardware sum pairs of terms: rounding errors of f32, not of bf16.
    const double most = isa->gemm_bf16 ? 1e-5 : 0;
    for (size_t i = 0; i < narrow.size(); ++i)
      EXPECT_LE(largest_difference(narrow[i], wide[i]), most) << isa->name << ", " << i;
    EXPECT_GT(largest_difference(narrow[0], run(x, w, dy, false)[0]), 1e-3);
  }
}

// The check itself can fail.
TEST(Gradcheck, notices_a_wrong_formula) {
  const auto wrong = [](const Vars& v) {
    const Tensor X = v[0].value();
    return record("wrong", multiply(X, X), {{v[0], [=](const Tensor& dy) { return scale(multiply(dy, X), 2.0001); }}});
  };
  EXPECT_GT(gradcheck(wrong, normals({{2, 3}})), 1e-5);
  const auto missing = [](const Vars& v) { return v[0] * v[1].detach(); };
  EXPECT_GT(gradcheck(missing, normals({{2, 3}, {2, 3}})), 0.5);
  for (const float x : {NAN, INFINITY}) {
    const auto broken = [x](const Vars& v) {
      return record("broken", v[0].value(), {{v[0], [x](const Tensor& dy) { return scale(dy, x); }}});
    };
    EXPECT_GT(gradcheck(broken, normals({{2, 3}})), 1) << x;
  }
}

}  // namespace
}  // namespace vlm2vec
