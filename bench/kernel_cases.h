// What kernels_bench measures: each kernel at the sizes of training (tiny ones without a GPU), what it computes on, and
// the bytes or flops that it cannot do without.
#pragma once
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/gpu.h"
#include "tensor/ops.h"
#include "tensor/random.h"

namespace vlm2vec {

// A kernel on its tensors.
struct Work {
  std::function<void()> run;
  double bytes = 0, flops = 0;
  double results = 0;  // bytes of what the run returns in new tensors
};

struct Case {
  std::string kernel;  // with `sizes` the name of the case, also in bench/rivals/kernels.py
  std::map<std::string, int64_t> sizes;
  std::vector<int64_t> lengths = {};  // of packed sequences, in tokens
  std::function<Work(const Case&, Device)> make;
  bool own_products = false;  // those of the kernels, not cuBLAS's

  int64_t at(const char* size) const { return sizes.at(size); }
  std::string name() const {
    std::string text = kernel;
    for (const auto& [size, value] : sizes) text += ", " + size + " " + std::to_string(value);
    return text;
  }
};

// A tensor of numbers from -1 to 1 that repeat after 65,521 of them.
inline Tensor some(const Shape& shape, DType type, Device device, uint64_t seed = 1) {
  std::vector<float> table(65521), values(static_cast<size_t>(numel(shape)));
  Random random(seed);
  for (float& x : table) x = 2 * uniform(random.word()) - 1;
  for (size_t i = 0; i < values.size(); ++i) values[i] = table[i % table.size()];
  return from_vector(values, shape, device).to(type);
}

inline Work copy_work(const Case& c, Device device) {
  const Tensor x = some({c.at("bytes") / 4}, DType::f32, device), y = empty_like(x);
  return {[=] { copy_bytes(x, y); }, 2.0 * double(x.bytes())};
}

inline Work product_work(const Case& c, Device device) {
  const int64_t m = c.at("m"), n = c.at("n"), k = c.at("k");
  const Tensor a = some({m, k}, DType::bf16, device), b = some({n, k}, DType::bf16, device, 2),
               y({m, n}, DType::bf16, device);
  return {[=] { kernel::matmul(a, b, {}, {.transpose_b = true}, y); }, double(a.bytes() + b.bytes() + y.bytes()),
          2.0 * double(m * n) * double(k)};
}

// q, k and v lie side by side. The backward runs after one forward.
inline Work attention_work(const Case& c, Device device) {
  const int heads = int(c.at("heads")), kv_heads = int(c.at("kv_heads")), d = int(c.at("head_dim"));
  std::vector<int32_t> starts{0};
  double pairs = 0;
  for (const int64_t n : c.lengths) starts.push_back(starts.back() + int32_t(n)), pairs += double(n * (n + 1)) / 2;
  const int64_t tokens = starts.back(), columns = int64_t(heads + 2 * kv_heads) * d;
  const AttentionShape shape{heads, kv_heads, d, true, 1 / std::sqrt(double(d)), 0, heads * d, (heads + kv_heads) * d};
  const Tensor x = some({tokens, columns}, DType::bf16, device),
               d_o = some({tokens, heads * d}, DType::bf16, device, 2), o = empty_like(d_o), dx = empty_like(x),
               lse({heads, tokens}, DType::f32, device), cu = from_vector(starts, device);
  const auto forward = [=] { kernel::attention(x, x, x, cu, cu, shape, o, lse); };
  const double moved = double(x.bytes() + o.bytes()), flops = 4 * pairs * heads * d;
  if (c.kernel == "attention") return {forward, moved, flops};
  forward();
  return {[=] { kernel::attention_backward(d_o, x, x, x, o, lse, cu, cu, shape, dx, dx, dx); }, 2 * moved, 2.5 * flops};
}

inline Work norm_work(const Case& c, Device device) {
  const Shape shape{c.at("rows"), c.at("columns")}, row{shape[1]}, column{shape[0]};
  const Tensor x = some(shape, DType::bf16, device), dy = some(shape, DType::bf16, device, 2),
               w = some(row, DType::f32, device, 3), y = empty_like(x), sum = empty_like(x),
               dw = zeros(row, w.dtype(), device), rstd(column, DType::f32, device), mean(column, DType::f32, device);
  const double pass = double(x.bytes());
  if (c.kernel == "rms_norm") return {[=] { kernel::rms_norm(x, w, 1e-6, y, rstd); }, 2 * pass};
  if (c.kernel == "add_rms_norm") return {[=] { kernel::add_rms_norm(x, dy, w, 1e-6, sum, y, rstd); }, 4 * pass};
  if (c.kernel == "layer_norm") return {[=] { kernel::layer_norm(x, w, w, 1e-6, y, mean, rstd); }, 2 * pass};
  if (c.kernel == "rms_norm backward") {
    kernel::rms_norm(x, w, 1e-6, y, rstd);
    const auto run = [=] {
      kernel::rms_norm_dx(dy, x, w, rstd, {}, y);
      kernel::rms_norm_dw(dy, x, rstd, dw);
    };
    return {run, 3 * pass};
  }
  kernel::layer_norm(x, w, w, 1e-6, y, mean, rstd);
  const auto run = [=] {
    kernel::layer_norm_dx(dy, x, w, mean, rstd, {}, y);
    kernel::layer_norm_dw(dy, x, mean, rstd, dw);
  };
  return {run, 3 * pass};
}

inline Work row_work(const Case& c, Device device) {
  const int64_t rows = c.at("rows"), columns = c.at("columns");
  const Tensor x = some({rows, columns}, DType::bf16, device), y = empty_like(x);
  const double pass = double(x.bytes());
  if (c.kernel == "gelu") return {[=] { kernel::activate(x, Activation::gelu, y); }, 2 * pass};
  if (c.kernel == "swiglu") {
    const Tensor gate_up = some({rows, 2 * columns}, DType::bf16, device);
    return {[=] { kernel::packed_swiglu(gate_up, y); }, 3 * pass};
  }
  if (c.kernel == "column_sums") {
    const Tensor sums = zeros({columns}, DType::f32, device);
    return {[=] { kernel::column_sums(x, sums); }, pass};
  }
  if (c.kernel == "rope") {
    const int head_dim = int(c.at("head_dim"));
    const Tensor cos = some({rows, head_dim / 2}, DType::f32, device), sin = some(cos.shape(), DType::f32, device, 2);
    const int heads = int(columns / head_dim);
    return {[=] { kernel::rope(x, cos, sin, heads, head_dim, false, y); }, 2 * pass + 2 * double(cos.bytes())};
  }
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  Random random(3);
  for (int32_t& id : ids) id = int32_t(random.below(uint32_t(rows)));
  const Tensor picked = from_vector(ids, device);
  return {[=] { kernel::gather_rows(x, picked, {}, y); }, 2 * pass};
}

inline Work adamw_work(const Case& c, Device device) {
  const int64_t numbers = c.at("numbers"), chunk = 1 << 16;
  const Tensor p = some({numbers}, DType::f32, device), g = some({numbers}, DType::f32, device, 2),
               m = zeros(p.shape(), p.dtype(), device), v = zeros(p.shape(), p.dtype(), device);
  std::vector<int64_t> table;
  for (int64_t begin = 0; begin < numbers; begin += chunk)
    table.insert(table.end(), {begin, std::min(chunk, numbers - begin), 0, chunk_decays});
  const Tensor chunks = from_vector(table, {int64_t(table.size()) / 4, 4}, device);
  const AdamWStep step{1e-3, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 1};
  return {[=] { kernel::adamw(p, g, m, v, chunks, step); }, 7.0 * double(p.bytes())};  // reads four, writes three
}

// Forward and backward. The products of the definition: q tᵀ twice, ds t and dsᵀ q.
inline Work infonce_work(const Case& c, Device device) {
  const Shape shape{c.at("pairs"), c.at("columns")};
  const auto unit = [&](uint64_t seed) { return l2_normalize(some(shape, DType::f32, device, seed), 1e-12).y; };
  const Tensor q = unit(1), t = unit(2), dloss = full({shape[0]}, 1 / double(shape[0]), DType::f32, device);
  const auto run = [=] { infonce_backward(dloss, q, t, infonce(q, t, 50).lse, 50); };
  return {run, 6.0 * double(q.bytes()), 8.0 * double(shape[0]) * double(shape[0]) * double(shape[1]),
          2.0 * double(q.bytes())};
}

// Lengths of rows of texts and pictures: most are short, a few have some hundred tokens.
inline std::vector<int64_t> short_rows(int64_t rows, int64_t least, int64_t most) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < rows; ++i)
    lengths.push_back(
        std::llround(double(least) * std::pow(double(most) / double(least), double(i) / double(rows - 1))));
  return lengths;
}

// The first two are the limits: the rate of a copy, and that of a product by cuBLAS.
inline std::vector<Case> kernel_cases(Device device) {
  const bool full_size = device == Device::cuda;
  const auto of = [&](int64_t on_card, int64_t tiny) { return full_size ? on_card : tiny; };
  std::vector<Case> all{{"copy", {{"bytes", of(1 << 30, 4096)}}, {}, copy_work}};
  const auto product = [&](int64_t m, int64_t n, int64_t k, bool own) {
    all.push_back({own ? "own product" : "product", {{"m", m}, {"n", n}, {"k", k}}, {}, product_work, own});
  };
  product(of(8192, 32), of(8192, 16), of(8192, 16), false);
  const auto attention = [&](int64_t heads, int64_t kv_heads, int64_t d, const std::vector<int64_t>& lengths) {
    const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t(0));
    for (const char* kernel : {"attention", "attention backward"})
      all.push_back({kernel,
                     {{"heads", heads},
                      {"kv_heads", kv_heads},
                      {"head_dim", d},
                      {"sequences", int64_t(lengths.size())},
                      {"tokens", tokens}},
                     lengths,
                     attention_work});
  };
  for (const int64_t n : {of(1024, 24), of(4096, 48)})
    attention(of(16, 2), of(16, 2), 128, std::vector<int64_t>(size_t(of(16384, 48) / n), n));
  for (const int64_t d : {64, 80, 96})
    attention(of(16, 2), of(16, 2), d, std::vector<int64_t>(size_t(of(16, 1)), of(1024, 20)));
  attention(of(12, 2), of(2, 1), 128, short_rows(of(64, 3), of(20, 3), of(1300, 17)));
  for (const char* kernel : {"rms_norm", "add_rms_norm", "rms_norm backward", "layer_norm", "layer_norm backward"})
    all.push_back({kernel, {{"rows", of(65536, 8)}, {"columns", of(1536, 64)}}, {}, norm_work});
  for (const char* kernel : {"gelu", "swiglu", "column_sums", "gather_rows"})
    all.push_back({kernel, {{"rows", of(16384, 8)}, {"columns", of(8960, 64)}}, {}, row_work});
  all.push_back({"rope", {{"rows", of(65536, 8)}, {"columns", of(1536, 64)}, {"head_dim", of(128, 32)}}, {}, row_work});
  all.push_back({"adamw", {{"numbers", of(1 << 27, 1000)}}, {}, adamw_work});
  for (const bool own : {true, false}) {
    product(of(4096, 24), of(4096, 16), of(4096, 16), own);
    product(of(16384, 40), of(8960, 16), of(1536, 32), own);
  }
  all.push_back({"infonce", {{"pairs", of(16384, 40)}, {"columns", of(1536, 32)}}, {}, infonce_work});
  return all;
}

}  // namespace vlm2vec
