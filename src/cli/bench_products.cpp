// Matrix products and attention at the sizes of a model, through the functions that its layers call.
#include <algorithm>
#include <cmath>
#include <set>

#include "cli/bench.h"
#include "io/files.h"
#include "io/scratch_folder.h"
#include "nn/state.h"
#include "tensor/cpu/shared.h"
#include "vlm/families/family.h"
#include "vlm/families/qwen_vl.h"

namespace vlm2vec {
namespace {

std::unique_ptr<Backbone> modules_of(const BenchShape& shape) {
  const ScratchFolder folder("bench");
  write_text(folder.path / "config.json", shape.config);
  return make_backbone(folder.path / "config.json");
}

// Repeats work of few operations, so that a round takes milliseconds.
Timing measure_short(const BenchOptions& options, double flops, const std::function<void()>& work) {
  const int64_t repeat = std::max<int64_t>(1, int64_t(1e9 / flops));
  Timing timing = measure(options, [&] {
    for (int64_t i = 0; i < repeat; ++i) work();
  });
  timing.seconds /= double(repeat);
  return timing;
}

struct Sizes {
  int64_t patches, merged, tokens;  // rows of a picture in the tower and behind it; with the text
};
Sizes sizes_of(const InputShape& input) {
  const int64_t side = kBenchPicture / input.patch_size, merge = input.merge_size;
  return {side * side, side * side / (merge * merge), side * side / (merge * merge) + kBenchText};
}

// A weight [out, in] and the rows that it multiplies.
struct Product {
  std::string layer;
  int64_t rows, out, in;
};

// Returns the different products of the model for one picture with a text.
std::vector<Product> products_of(Backbone& backbone) {
  const InputShape input = backbone.input();
  const Sizes sizes = sizes_of(input);
  std::set<std::vector<int64_t>> seen;
  std::vector<Product> products;
  backbone.each_parameter([&](Parameter& p) {
    const std::string path = p.path();
    if (!p.is_matrix() || path == backbone.names().embedding) return;
    const bool embeds_patches = p.shape().size() > 2;  // the frames of a still picture are added first
    const int64_t out = p.shape()[0], in = numel(p.shape()) / out / (embeds_patches ? input.temporal_patch_size : 1);
    const int64_t rows = path.starts_with("visual.merger") ? sizes.merged
                         : path.starts_with("visual.")     ? sizes.patches
                                                           : sizes.tokens;
    if (seen.insert({rows, out, in}).second) products.push_back({path.substr(0, path.rfind('.')), rows, out, in});
  });
  return products;
}

// Random numbers in both types; the products read them as matrices of any shape.
struct Numbers {
  Numbers(int64_t n, uint64_t seed)
      : f32(normal_tensor({n}, 1, seed, DType::f32, Device::cpu)), bf16(f32.to(DType::bf16)) {}
  const Tensor f32, bf16;
  const void* of(Stored type) const { return type == Stored::bf16 ? bf16.raw() : f32.raw(); }
};

// Forward, y = x·Wᵀ; dx = dy·W; dW += dyᵀ·x.
std::vector<std::pair<const char*, GemmTask>> tasks_of(const Product& p, Stored x, Stored weight) {
  return {{"y = x W^T",
           {.m = p.rows,
            .n = p.out,
            .k = p.in,
            .a_stride = p.in,
            .b_stride = p.in,
            .transpose_b = true,
            .a_type = x,
            .b_type = weight}},
          {"dx = dy W",
           {.m = p.rows, .n = p.in, .k = p.out, .a_stride = p.out, .b_stride = p.in, .a_type = x, .b_type = weight}},
          {"dW += dy^T x",
           {.m = p.out,
            .n = p.in,
            .k = p.rows,
            .a_stride = p.out,
            .b_stride = p.in,
            .transpose_a = true,
            .a_type = x,
            .b_type = x,
            .accumulate = true}}};
}

// Packed sequences of equal length.
struct Sequences {
  const char* name;
  int64_t sequences, length;
  AttentionShape shape;  // q, k and v lie side by side
};

Tensor packed(const Sequences& r, uint64_t seed) {
  const AttentionShape& s = r.shape;
  return normal_tensor({r.sequences * r.length, int64_t(s.heads + 2 * s.kv_heads) * s.head_dim}, 1, seed, DType::f32,
                       Device::cpu);
}

void add_rows(const BenchOptions& options, Sequences r, std::vector<BenchRow>& rows) {
  AttentionShape& s = r.shape;
  s.scale = 1 / std::sqrt(double(s.head_dim));
  s.k_column = s.heads * s.head_dim, s.v_column = s.k_column + s.kv_heads * s.head_dim;
  s.bf16_products = options.bf16;
  std::vector<int32_t> begins;
  for (int64_t i = 0; i <= r.sequences; ++i) begins.push_back(int32_t(i * r.length));
  const Tensor cu = from_vector(begins), qkv = packed(r, 1);
  const AttentionResult forward = attention(qkv, qkv, qkv, cu, cu, s);
  const Tensor d_o = normal_tensor(forward.o.shape(), 1, 2, DType::f32, Device::cpu);
  const double flops = attention_flops(cu, int64_t(s.heads) * s.head_dim, s.causal);
  const auto add = [&](const char* pass, double factor, const std::function<void()>& work) {
    const Timing timing = measure_short(options, flops, work);
    rows.push_back({.name = sentence(r.name, ", ", r.sequences, " of ", r.length, ", ", s.heads, " heads of ",
                                     s.head_dim, ", ", pass),
                    .flops = factor * flops,
                    .timing = timing,
                    .sizes = {{"sequences", r.sequences},
                              {"length", r.length},
                              {"heads", s.heads},
                              {"kv_heads", s.kv_heads},
                              {"head_dim", s.head_dim},
                              {"causal", s.causal}}});
  };
  add("forward", 1, [&] { attention(qkv, qkv, qkv, cu, cu, s); });
  // Five products for two: the scores are computed again.
  add("backward", 2.5, [&] { attention_backward(d_o, qkv, qkv, qkv, forward, cu, cu, s); });
}

}  // namespace

std::vector<BenchRow> bench_gemm(const BenchOptions& options) {
  const auto backbone = modules_of(*options.shape);
  const std::vector<Product> products = products_of(*backbone);
  int64_t most = 0;
  for (const auto& [layer, rows, out, in] : products) most = std::max({most, rows * out, rows * in, out * in});
  const Numbers a(most, 1), b(most, 2);
  const Tensor c = zeros({most}, DType::f32, Device::cpu);
  const Stored x = options.bf16 ? Stored::bf16 : Stored::f32;
  const Stored weight = options.bf16 || stored_weights(*options.shape) == DType::bf16 ? Stored::bf16 : Stored::f32;
  std::vector<BenchRow> rows;
  for (const Product& product : products)
    for (auto [name, task] : tasks_of(product, x, weight)) {
      task.a = a.of(task.a_type), task.b = b.of(task.b_type), task.c = c.data<float>(), task.c_stride = task.n;
      const double flops = 2 * double(task.m) * double(task.n) * double(task.k);
      const Timing timing = measure_short(options, flops, [&] { cpu::gemm(task); });
      rows.push_back({.name = sentence(product.layer, ", ", name, ", ", task.m, "x", task.n, "x", task.k),
                      .flops = flops,
                      .timing = timing,
                      .sizes = {{"m", task.m}, {"n", task.n}, {"k", task.k}}});
    }
  return rows;
}

std::vector<BenchRow> bench_attention(const BenchOptions& options) {
  const auto backbone = modules_of(*options.shape);
  const QwenVlConfig& config = dynamic_cast<const QwenVl&>(*backbone).config();
  const AttentionShape tower{config.vision.num_heads, config.vision.num_heads, config.vision.head_dim(), false, 1};
  const AttentionShape decoder{config.text.num_attention_heads, config.text.num_key_value_heads, config.text.head_dim,
                               true, 1};
  const Sizes sizes = sizes_of(backbone->input());
  std::vector<BenchRow> rows;
  add_rows(options, {"vision tower", 1, sizes.patches, tower}, rows);
  add_rows(options, {"decoder", 1, sizes.tokens, decoder}, rows);
  for (const int64_t length : {20, 40, 64}) add_rows(options, {"short rows", 16, length, decoder}, rows);
  return rows;
}

}  // namespace vlm2vec
