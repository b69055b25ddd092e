// attention.cu and attention_backward.cu against plain loops in double.
#include "expect_error.h"
#include "kernels/gpu.h"
#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace testing_kernels;

struct Case {
  const char* name;
  int heads, kv_heads, head_dim;
  bool causal;
  std::vector<int32_t> cu_q, cu_k;
  int window = 0;
};

struct Reference {
  Numbers o, lse, dq, dk, dv;
};

// q, k, v [rows, heads, head_dim]; softmax over the visible keys, and its gradient by the chain rule.
Reference reference(const Case& t, double scale, const Numbers& q, const Numbers& k, const Numbers& v,
                    const Numbers& d_o) {
  const size_t d = size_t(t.head_dim), heads = size_t(t.heads), kv_heads = size_t(t.kv_heads),
               rows = q.size() / heads / d;
  Reference r{Numbers(q.size()), Numbers(heads * rows, -INFINITY), Numbers(q.size()), Numbers(k.size()),
              Numbers(v.size())};
  for (size_t s = 0; s + 1 < t.cu_q.size(); ++s)
    for (size_t h = 0; h < heads; ++h)
      for (int i = t.cu_q[s]; i < t.cu_q[s + 1]; ++i) {
        const int nq = t.cu_q[s + 1] - t.cu_q[s], nk = t.cu_k[s + 1] - t.cu_k[s];
        const int visible = t.causal ? std::max(0, i - t.cu_q[s] + 1 + nk - nq) : nk;
        const int first = t.window > 0 ? std::max(0, visible - t.window) : 0;
        if (visible == 0) continue;
        const size_t at = (size_t(i) * heads + h) * d;
        auto key = [&](int j) { return (size_t(t.cu_k[s] + j) * kv_heads + h / (heads / kv_heads)) * d; };
        Numbers p, dp;
        double sum = 0, mean = 0;
        for (int j = first; j < visible; ++j) {
          double score = 0, from_above = 0;
          for (size_t c = 0; c < d; ++c)
            score += scale * q[at + c] * k[key(j) + c], from_above += d_o[at + c] * v[key(j) + c];
          p.push_back(std::exp(score)), dp.push_back(from_above);
          sum += p.back();
        }
        r.lse[h * rows + size_t(i)] = std::log(sum);
        for (double& x : p) x /= sum;
        for (size_t j = 0; j < p.size(); ++j) mean += p[j] * dp[j];
        for (int j = first; j < visible; ++j)
          for (size_t c = 0; c < d; ++c) {
            const double pj = p[size_t(j - first)], ds = scale * pj * (dp[size_t(j - first)] - mean);
            r.o[at + c] += pj * v[key(j) + c];
            r.dq[at + c] += ds * k[key(j) + c];
            r.dk[key(j) + c] += ds * q[at + c];
            r.dv[key(j) + c] += pj * d_o[at + c];
          }
      }
  return r;
}

// Columns begin … begin + count of a matrix.
Numbers slice(const Tensor& x, int begin, int count) {
  Numbers y;
  const Numbers all = numbers(x);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int c = 0; c < count; ++c) y.push_back(all[size_t(r * x.columns() + begin + c)]);
  return y;
}

// Runs f where sums need no fixed order.
void without_order(const std::function<void()>& f) {
  deterministic = false;
  f();
  deterministic = true;
}

const std::vector<Case> cases{
    {"causal, grouped, uneven", 4, 2, 32, true, {0, 5, 5, 41, 42}, {0, 5, 5, 41, 42}},
    {"full, two images", 2, 2, 72, false, {0, 33, 50}, {0, 33, 50}},
    {"causal, one key head", 3, 1, 64, true, {0, 34}, {0, 34}},
    {"head size 80", 1, 1, 80, false, {0, 16}, {0, 16}},
    {"head size 88", 1, 1, 88, true, {0, 17}, {0, 17}},
    {"head size 96", 2, 1, 96, true, {0, 9, 18}, {0, 9, 18}},
    {"head size 128", 2, 2, 128, true, {0, 20}, {0, 20}},
    {"head size 200", 1, 1, 200, true, {0, 18}, {0, 18}},
    {"head size 256", 2, 1, 256, false, {0, 3}, {0, 33}},
    {"a tiny, odd head", 2, 1, 3, true, {0, 7}, {0, 7}},
    {"many short ones and empty ones", 1, 1, 4, true, {0, 0, 1, 1, 17, 32, 33, 33, 33, 50, 82, 84, 84},
     {0, 0, 1, 1, 17, 32, 33, 33, 33, 50, 82, 84, 84}},
    {"cross-attention", 2, 1, 32, false, {0, 1, 4, 8}, {0, 40, 40, 45}},   // the second has no keys
    {"causal with earlier keys", 2, 1, 32, true, {0, 3, 4}, {0, 40, 45}},  // a cache: the last query sees all
    {"a window", 2, 1, 32, true, {0, 5, 5, 105, 106}, {0, 5, 5, 105, 106}, 37},
    {"a window of one key", 1, 1, 8, true, {0, 70}, {0, 70}, 1},
    {"a window over earlier keys", 2, 1, 32, true, {0, 3, 4}, {0, 90, 95}, 20},
    {"causal with too few keys", 2, 2, 32, true, {0, 40}, {0, 5}},         // the first 35 queries see none
    {"many queries without keys", 1, 1, 32, false, {0, 60, 64}, {0, 0, 4}},
    {"three tiles", 2, 1, 64, true, {0, 150, 214}, {0, 150, 214}},
    {"three tiles of a window", 1, 1, 80, true, {0, 170}, {0, 170}, 70},
    {"three tiles of keys", 1, 1, 128, false, {0, 70}, {0, 140}},
    {"half tiles", 2, 1, 136, true, {0, 90}, {0, 90}},
    {"few key heads: parts of steps", 16, 1, 32, true, {0, 70, 130}, {0, 70, 130}},
    {"parts of half tiles", 8, 1, 136, true, {0, 64}, {0, 64}},
};

TEST(KernelsAttention, ForwardAndBackward) {
  for (const Case& t : cases) {
    SCOPED_TRACE(t.name);
    in_every_format([&t](DType dtype) {
      const int width = t.heads * t.head_dim, kv_width = t.kv_heads * t.head_dim;
      const int64_t rows = t.cu_q.back(), kv_rows = t.cu_k.back();
      const double scale = 1 / std::sqrt(double(t.head_dim));
      // q has columns before it, as many as tensor cores allow; k and v lie side by side, v first.
      const int before = t.head_dim % 8 == 0 ? 8 : 3;
      const Tensor q = random({rows, before + width}, dtype, 1), kv = random({kv_rows, 2 * kv_width}, dtype, 2);
      const Tensor d_o = random({rows, width}, dtype, 3), o = unwritten({rows, width}, dtype);
      const Tensor lse = unwritten({t.heads, rows}, acc_of(dtype)), cu_q = integers(t.cu_q), cu_k = integers(t.cu_k);
      const AttentionShape shape{t.heads, t.kv_heads, t.head_dim, t.causal, scale, before, kv_width, 0, t.window};
      const Reference want =
          reference(t, scale, slice(q, before, width), slice(kv, kv_width, kv_width), slice(kv, 0, kv_width), numbers(d_o));

      const uint64_t products = emulator::matrix_products;
      emu::attention(q, kv, kv, cu_q, cu_k, shape, o, lse);
      EXPECT_EQ(emulator::matrix_products > products, dtype == DType::bf16 && t.head_dim % 8 == 0);
      expect_close(o, want.o, "o");
      Numbers got = numbers(lse), expected = want.lse;
      for (size_t i = 0; i < got.size(); ++i)
        if (std::isinf(expected[i])) {
          EXPECT_EQ(got[i], expected[i]);
          got[i] = expected[i] = 0;
        }
      expect_close(got, expected, tolerance(lse.dtype()), "lse");

      const Tensor dq = unwritten_like(q), dkv = unwritten_like(kv);
      emu::attention_backward(d_o, q, kv, kv, o, lse, cu_q, cu_k, shape, dq, dkv, dkv);
      const double limit = dtype == DType::bf16 ? 2e-2 : 5 * tolerance(dtype);  // o itself was rounded
      expect_close(slice(dq, before, width), want.dq, limit, "dq");
      expect_close(slice(dkv, kv_width, kv_width), want.dk, limit, "dk");
      expect_close(slice(dkv, 0, kv_width), want.dv, limit, "dv");
      EXPECT_TRUE(std::isnan(numbers(dq)[0]));  // the columns before q are not its to write

      if (dtype != DType::bf16 || t.head_dim % 8) return;
      const Tensor added = unwritten_like(q), same = unwritten_like(kv);
      without_order([&] {
        emu::attention_backward(d_o, q, kv, kv, o, lse, cu_q, cu_k, shape, added, same, same);
      });
      expect_close(slice(added, before, width), want.dq, limit, "dq by atomics");
      expect_close(slice(added, before, width), slice(dq, before, width), tolerance(dtype), "either dq");
      EXPECT_TRUE(std::isnan(numbers(added)[0]));
      EXPECT_EQ(numbers(same), numbers(dkv));
    });
  }
}

// Counts of 16 × 8 × 16 products: 7 of 128 × 128 scores by 64 columns, of which atomics save two. Blocks of several OS
// threads add to the same rows.
TEST(KernelsAttention, AtomicsSaveTwoProductsOfSeven) {
  const Tensor q = random({128, 64}, DType::bf16, 1), k = random({128, 64}, DType::bf16, 2),
               v = random({128, 64}, DType::bf16, 3), d_o = random({128, 64}, DType::bf16, 4);
  const Tensor o = unwritten_like(q), lse = unwritten({1, 128}, DType::f32), cu = integers({0, 128});
  const AttentionShape shape{1, 1, 64, false, 0.1};
  emu::attention(q, k, v, cu, cu, shape, o, lse);
  const auto products = [&](const Tensor& dq) {
    const Tensor dk = unwritten_like(k), dv = unwritten_like(v);
    const uint64_t before = emulator::matrix_products;
    emu::attention_backward(d_o, q, k, v, o, lse, cu, cu, shape, dq, dk, dv);
    return emulator::matrix_products - before;
  };
  const uint64_t one = 128 * 128 * 64 / (16 * 8 * 16);
  const Tensor dq = unwritten_like(q), added = unwritten_like(q);
  EXPECT_EQ(products(dq), 7 * one);
  emulator::use_os_threads(2);
  without_order([&] { EXPECT_EQ(products(added), 5 * one); });
  emulator::use_os_threads(1);
  expect_close(added, numbers(dq), "dq");
}

// Their parts are added by a launch for dk and one for dv.
TEST(KernelsAttention, FewKeyHeadsSplitTheirSteps) {
  const auto launches = [](int heads, int kv_heads, int64_t rows) {
    const Tensor q = random({rows, heads * 32}, DType::bf16, 1), k = random({rows, kv_heads * 32}, DType::bf16, 2);
    const Tensor lse = random({heads, rows}, DType::f32, 3), cu = integers({0, int(rows)});
    const uint64_t before = emulator::launches;
    emu::attention_backward(q, q, k, k, q, lse, cu, cu, {heads, kv_heads, 32, true, 0.1}, unwritten_like(q),
                            unwritten_like(k), unwritten_like(k));
    return emulator::launches - before;
  };
  EXPECT_EQ(launches(16, 1, 64), 5u);
  EXPECT_EQ(launches(15, 1, 64), 3u);  // too few steps for two parts
  EXPECT_EQ(launches(16, 16, 64), 3u);
}

class KernelsAttentionBits : public testing::TestWithParam<DType> {};
TEST_P(KernelsAttentionBits, do_not_depend_on_what_is_packed_beside) {
  const DType dtype = GetParam();
  const int64_t width = 2 * 40;
  const Tensor q = random({57, width}, dtype, 4), k = random({57, width}, dtype, 5), v = random({57, width}, dtype, 6);
  const Tensor d_o = random({57, width}, dtype, 7);
  const AttentionShape shape{2, 2, 40, true, 0.2};
  auto run = [&](int64_t begin, int64_t end, const std::vector<int32_t>& cu) {
    const auto part = [&](const Tensor& x) { return x.rows(begin, end); };
    const Tensor o = unwritten({end - begin, width}, dtype), lse = unwritten({2, end - begin}, DType::f32);
    const Tensor dq = unwritten_like(o), dk = unwritten_like(o), dv = unwritten_like(o), starts = integers(cu);
    emu::attention(part(q), part(k), part(v), starts, starts, shape, o, lse);
    emu::attention_backward(part(d_o), part(q), part(k), part(v), o, lse, starts, starts, shape, dq, dk, dv);
    return std::vector<Tensor>{o, dq, dk, dv};
  };
  const auto packed = run(0, 57, {0, 7, 45, 57}), alone = run(7, 45, {0, 38});
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(numbers(packed[i].rows(7, 45)), numbers(alone[i])) << i;
}
INSTANTIATE_TEST_SUITE_P(, KernelsAttentionBits, testing::Values(DType::f32, DType::bf16),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(KernelsAttention, LargeScoresDoNotOverflowAndNaNIsNotLost) {
  const Tensor q = tensor({2, 1}, DType::f32, {300, std::nan("")}), k = tensor({2, 1}, DType::f32, {300, 299});
  const Tensor v = tensor({2, 1}, DType::f32, {5, 7}), o = unwritten({2, 1}, DType::f32),
               lse = unwritten({1, 2}, DType::f32);
  emu::attention(q, k, v, integers({0, 2}), integers({0, 2}), {1, 1, 1, false, 1}, o, lse);
  EXPECT_EQ(numbers(o)[0], 5);
  EXPECT_EQ(numbers(lse)[0], 90000);
  EXPECT_TRUE(std::isnan(numbers(o)[1]));
}

TEST(KernelsAttention, HeadsHaveALimit) {
  const Tensor x = random({1, 257}, DType::f32, 8), lse = unwritten({1, 1}, DType::f32), cu = integers({0, 1});
  const AttentionShape shape{1, 1, 257, false, 1};
  const char* sentence = "attention: head_dim is 257, device kernels hold at most 256; use --device cpu";
  expect_error(sentence, [&] { emu::attention(x, x, x, cu, cu, shape, x, lse); });
  expect_error(sentence, [&] { emu::attention_backward(x, x, x, x, x, lse, cu, cu, shape, x, x, x); });
}

}  // namespace
}  // namespace vlm2vec
