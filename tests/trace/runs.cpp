#include "runs.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "io/error.h"
#include "kernels/kernels.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace vlm2vec::trace {
namespace {

using Run = std::function<void()>;

Tensor random(vlm2vec::Shape shape, DType dtype, uint64_t seed) {
  Random draw(seed);
  const Tensor x(std::move(shape), dtype, Device::cpu);
  dispatch_float(dtype, [&]<class T>() {
    for (int64_t i = 0; i < x.numel(); ++i) x.data<T>()[i] = T(draw.normal());
  });
  return x.to(Device::emu);
}
Tensor empty(vlm2vec::Shape shape, DType dtype) { return Tensor(std::move(shape), dtype, Device::emu); }

DType dtype_of(const Shape& s) { return s["bf16"] ? DType::bf16 : DType::f32; }

// Rows of equal sequences: 0, n, 2n, …
Tensor starts(int64_t rows, int64_t sequences) {
  std::vector<int32_t> starts;
  for (int64_t s = 0; s <= sequences; ++s) starts.push_back(int32_t(rows * s / sequences));
  return from_vector(starts, Device::emu);
}

Run attention(const Shape& s, bool backward) {
  if (s["heads"] % s["kv_heads"])
    fail(Exit::usage, "trace: heads is ", s["heads"], ", which is no multiple of kv_heads, ", s["kv_heads"]);
  const DType dtype = dtype_of(s);
  const int64_t rows = s["rows"], width = s["heads"] * s["head_dim"], kv_width = s["kv_heads"] * s["head_dim"];
  const Tensor q = random({rows, width}, dtype, 1), k = random({rows, kv_width}, dtype, 2),
               v = random({rows, kv_width}, dtype, 3), cu = starts(rows, s["sequences"]);
  const Tensor o = empty({rows, width}, dtype), lse = empty({s["heads"], rows}, DType::f32);
  const AttentionShape shape{int(s["heads"]),
                             int(s["kv_heads"]),
                             int(s["head_dim"]),
                             s["causal"] != 0,
                             1 / std::sqrt(double(s["head_dim"])),
                             0,
                             0,
                             0,
                             int(s["window"])};
  const Run forward = [=] { emu::attention(q, k, v, cu, cu, shape, o, lse); };
  if (!backward) return forward;
  forward();
  const Tensor d_o = random({rows, width}, dtype, 4);
  const Tensor dq = empty({rows, width}, dtype), dk = empty({rows, kv_width}, dtype),
               dv = empty({rows, kv_width}, dtype);
  return [=, fixed = s["deterministic"] != 0] {
    deterministic = fixed;
    emu::attention_backward(d_o, q, k, v, o, lse, cu, cu, shape, dq, dk, dv);
    deterministic = true;
  };
}

struct Rows {
  Tensor x, dy, w, b, y, dx, mean, rstd;
  explicit Rows(const Shape& s) {
    const DType dtype = dtype_of(s);
    const vlm2vec::Shape all{s["rows"], s["columns"]}, row{s["columns"]}, column{s["rows"]};
    x = random(all, dtype, 1), dy = random(all, dtype, 2), y = empty(all, dtype), dx = empty(all, dtype);
    w = random(row, DType::f32, 3), b = random(row, DType::f32, 4);
    mean = random(column, DType::f32, 5), rstd = random(column, DType::f32, 6);
  }
};
Run rms_norm(const Shape& s) {
  return [t = Rows(s)] { emu::rms_norm(t.x, t.w, 1e-6, t.y, t.rstd); };
}
Run rms_norm_dx(const Shape& s) {
  return [t = Rows(s)] { emu::rms_norm_dx(t.dy, t.x, t.w, t.rstd, Tensor(), t.dx); };
}
Run layer_norm(const Shape& s) {
  return [t = Rows(s)] { emu::layer_norm(t.x, t.w, t.b, 1e-6, t.y, t.mean, t.rstd); };
}
Run layer_norm_dx(const Shape& s) {
  return [t = Rows(s)] { emu::layer_norm_dx(t.dy, t.x, t.w, t.mean, t.rstd, Tensor(), t.dx); };
}

Run infonce(const Shape& s, bool backward) {
  const int64_t queries = s["queries"], targets = s["targets"], columns = s["columns"];
  if (targets < queries) fail(Exit::usage, "trace: of ", targets, " targets not each of ", queries, " queries has one");
  std::vector<int32_t> own;
  for (int64_t i = 0; i < queries; ++i) own.push_back(int32_t(i * (targets / queries)));
  const Tensor q = random({queries, columns}, DType::f32, 1), t = random({targets, columns}, DType::f32, 2);
  const Tensor labels = from_vector(own, Device::emu), loss = empty({queries}, DType::f32),
               lse = empty({queries}, DType::f32), best = empty({queries}, DType::i32);
  const double inverse_tau = 1;
  const Run forward = [=] { emu::infonce(q, t, labels, Tensor(), inverse_tau, false, loss, lse, best); };
  if (!backward) return forward;
  forward();
  const Tensor dloss = random({queries}, DType::f32, 3), dq = empty({queries, columns}, DType::f32),
               dt = empty({targets, columns}, DType::f32);
  return [=] { emu::infonce_backward(dloss, q, t, labels, Tensor(), lse, inverse_tau, false, dq, dt); };
}

Run matmul(const Shape& s) {
  const bool ta = s["transpose_a"], tb = s["transpose_b"];
  const int64_t m = s["m"], n = s["n"], k = s["k"];
  const Tensor a = random(ta ? vlm2vec::Shape{k, m} : vlm2vec::Shape{m, k}, dtype_of(s), 1),
               b = random(tb ? vlm2vec::Shape{n, k} : vlm2vec::Shape{k, n}, dtype_of(s), 2),
               c = empty({m, n}, dtype_of(s));
  return [=] { emu::matmul(a, b, Tensor(), {ta, tb, false}, c); };
}

}  // namespace

int64_t Shape::operator[](const std::string& name) const {
  for (const Size& size : sizes)
    if (size.name == name) return size.value;
  fail(Exit::failed, "trace: the shape has no ", name);
}

Shape Shape::with(const std::string& changes) const {
  constexpr int64_t most = 1 << 20;
  Shape shape = *this;
  for (size_t begin = 0; begin < changes.size();) {
    const size_t end = std::min(changes.find(',', begin), changes.size());
    const std::string change = changes.substr(begin, end - begin), name = change.substr(0, change.find('='));
    const std::string text = change.substr(std::min(change.size(), name.size() + 1));
    const auto size = std::ranges::find(shape.sizes, name, &Size::name);
    if (size == shape.sizes.end())
      fail(Exit::usage, "trace --shape: there is no size \"", name, "\"; the sizes are ", this->text());
    const char* const last = text.data() + text.size();
    const auto read = std::from_chars(text.data(), last, size->value);
    if (read.ec != std::errc() || read.ptr != last || size->value < size->least || size->value > most)
      fail(Exit::usage, "trace --shape: ", name, " is \"", text, "\", expected a number from ", size->least, " to ",
           most);
    begin = end + 1;
  }
  return shape;
}

std::string Shape::text() const {
  std::string text;
  for (const Size& size : sizes) text += (text.empty() ? "" : ",") + sentence(size.name, "=", size.value);
  return text;
}

const std::vector<Traceable>& traceables() {
  static const Shape heads{{{"rows", 200},
                            {"sequences", 1},
                            {"heads", 2},
                            {"kv_heads", 1},
                            {"head_dim", 64},
                            {"causal", 1, 0},
                            {"window", 0, 0},
                            {"bf16", 1, 0}}};
  static const Shape backward_heads = [] {
    Shape shape = heads;
    shape.sizes.push_back({"deterministic", 1, 0});
    return shape;
  }();
  static const Shape rows{{{"rows", 8}, {"columns", 1536}, {"bf16", 1, 0}}};
  static const Shape pairs{{{"queries", 64}, {"targets", 128}, {"columns", 256}}};
  static const Shape product{
      {{"m", 64}, {"n", 96}, {"k", 64}, {"transpose_a", 0, 0}, {"transpose_b", 1, 0}, {"bf16", 0, 0}}};
  static const std::vector<Traceable> all{
      {"attention", heads, [](const Shape& s) { return attention(s, false); }},
      {"attention_backward", backward_heads, [](const Shape& s) { return attention(s, true); }},
      {"rms_norm", rows, rms_norm},
      {"rms_norm_dx", rows, rms_norm_dx},
      {"layer_norm", rows, layer_norm},
      {"layer_norm_dx", rows, layer_norm_dx},
      {"infonce", pairs, [](const Shape& s) { return infonce(s, false); }},
      {"infonce_backward", pairs, [](const Shape& s) { return infonce(s, true); }},
      {"matmul", product, matmul},
  };
  return all;
}

const Traceable& traceable(const std::string& name) {
  std::string known;
  for (const Traceable& kernel : traceables()) {
    if (kernel.name == name) return kernel;
    known += (known.empty() ? "" : ", ") + std::string(kernel.name);
  }
  fail(Exit::usage, "trace: there is no kernel \"", name, "\"; there are ", known);
}

Trace trace_of(const Traceable& kernel, const Shape& shape) {
  Tracer& tracer = Tracer::here();
  const Run launch = kernel.prepare(shape);
  tracer.take();  // what preparing did
  launch();
  return tracer.take();
}

}  // namespace vlm2vec::trace
