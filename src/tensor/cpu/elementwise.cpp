// Element-wise functions: sums, products, conversions, activations, dropout, the optimiser's step.
#include <algorithm>

#include "kernels/kernels.h"
#include "tensor/cpu/shared.h"
#include "tensor/cpu/simd/simd.h"
#include "tensor/random.h"

namespace vlm2vec::cpu {
namespace {

// Runs f(n, begin) on ranges of [0, numel).
template <class F>
void each(const Tensor& x, F&& f) {
  parallel_for(x.numel(), grain, [&](int64_t begin, int64_t end) { f(end - begin, begin); });
}

}  // namespace

void fill(const Tensor& y, double value) {
  dispatch_float(y.dtype(), [&]<class T>() {
    T* const to = y.data<T>();
    each(y, [&](int64_t n, int64_t i) { std::fill_n(to + i, n, T(value)); });
  });
}

void cast(const Tensor& x, const Tensor& y) {
  if (x.dtype() == DType::f32 && y.dtype() == DType::bf16) {
    const float* from = x.data<float>();
    uint16_t* const to = static_cast<uint16_t*>(y.raw());
    each(x, [&](int64_t n, int64_t i) { simd().narrow(n, from + i, to + i); });
  } else if ((x.dtype() == DType::bf16 || x.dtype() == DType::f16) && y.dtype() == DType::f32) {
    const auto widen = x.dtype() == DType::f16 ? simd().widen_f16 : simd().widen;
    const uint16_t* from = static_cast<const uint16_t*>(x.raw());
    float* const to = y.data<float>();
    each(x, [&](int64_t n, int64_t i) { widen(n, from + i, to + i); });
  } else {
    dispatch_stored(x.dtype(), [&]<class From>() {
      dispatch_stored(y.dtype(), [&]<class To>() {
        const From* from = x.data<From>();
        To* const to = y.data<To>();
        each(x, [&](int64_t n, int64_t i) {
          std::transform(from + i, from + i + n, to + i, [](From v) { return convert<To>(v); });
        });
      });
    });
  }
}

void add(const Tensor& a, const Tensor& b, const Tensor& y) {
  const float *pa = f32("add", a), *pb = f32("add", b);
  float* const to = f32("add", y);
  each(y, [&](int64_t n, int64_t i) { simd().add(n, pa + i, pb + i, to + i); });
}
void add_to(const Tensor& x, const Tensor& y) {
  const float* from = f32("add_to", x);
  float* const to = f32("add_to", y);
  each(y, [&](int64_t n, int64_t i) { simd().add_to(n, from + i, to + i); });
}
void multiply(const Tensor& a, const Tensor& b, const Tensor& y) {
  const float *pa = f32("multiply", a), *pb = f32("multiply", b);
  float* const to = f32("multiply", y);
  each(y, [&](int64_t n, int64_t i) { simd().multiply(n, pa + i, pb + i, to + i); });
}
void scale(const Tensor& x, double factor, const Tensor& y) {
  const float* from = f32("scale", x);
  float* const to = f32("scale", y);
  each(y, [&](int64_t n, int64_t i) { simd().scale(n, float(factor), from + i, to + i); });
}

void scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias, const Tensor& y) {
  const float *from = f32("scale_columns", x), *f = f32("scale_columns", factors);
  const float* const b = bias ? f32("scale_columns", bias) : nullptr;
  float* const to = f32("scale_columns", y);
  const int64_t d = x.columns();
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      simd().multiply(d, from + row * d, f, to + row * d);
      if (b) simd().add_to(d, b, to + row * d);
    }
  });
}

namespace {

// The loops of a function and of its slope.
auto loops_of(Activation f) {
  switch (f) {
    case Activation::silu:
      return std::pair(simd().silu, simd().silu_dx);
    case Activation::gelu:
      return std::pair(simd().gelu, simd().gelu_dx);
    case Activation::quick_gelu:
      return std::pair(simd().quick_gelu, simd().quick_gelu_dx);
    case Activation::gelu_tanh:
      return std::pair(simd().gelu_tanh, simd().gelu_tanh_dx);
  }
  fail(Exit::failed, "activate: there is no activation ", int(f));
}

}  // namespace

void activate(const Tensor& x, Activation f, const Tensor& y) {
  const auto run = loops_of(f).first;
  const float* from = f32("activate", x);
  float* const to = f32("activate", y);
  each(y, [&](int64_t n, int64_t i) { run(n, from + i, to + i); });
}
void activate_dx(const Tensor& dy, const Tensor& x, Activation f, const Tensor& dx) {
  const auto run = loops_of(f).second;
  const float *d = f32("activate_dx", dy), *at = f32("activate_dx", x);
  float* const to = f32("activate_dx", dx);
  each(dx, [&](int64_t n, int64_t i) { run(n, d + i, at + i, to + i); });
}

void swiglu(const Tensor& gate, const Tensor& up, const Tensor& y) {
  const float *g = f32("swiglu", gate), *u = f32("swiglu", up);
  float* const to = f32("swiglu", y);
  each(y, [&](int64_t n, int64_t i) { simd().swiglu(n, g + i, u + i, to + i); });
}
void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate, const Tensor& dup) {
  const char* op = "swiglu_backward";
  const float *d = f32(op, dy), *g = f32(op, gate), *u = f32(op, up);
  float *const dg = f32(op, dgate), *const du = f32(op, dup);
  each(dy, [&](int64_t n, int64_t i) { simd().swiglu_backward(n, d + i, g + i, u + i, dg + i, du + i); });
}

void packed_swiglu(const Tensor& gate_up, const Tensor& y) {
  const float* const from = f32("packed_swiglu", gate_up);
  float* const to = f32("packed_swiglu", y);
  const int64_t d = y.columns();
  parallel_rows(y.rows(), d, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) simd().swiglu(d, from + 2 * r * d, from + (2 * r + 1) * d, to + r * d);
  });
}
void packed_swiglu_backward(const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  const char* op = "packed_swiglu_backward";
  const float *g = f32(op, dy), *from = f32(op, gate_up);
  float* const to = f32(op, dgate_up);
  const int64_t d = dy.columns();
  parallel_rows(dy.rows(), d, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      simd().swiglu_backward(d, g + r * d, from + 2 * r * d, from + (2 * r + 1) * d, to + 2 * r * d,
                             to + (2 * r + 1) * d);
  });
}

void dropout(const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed, const Tensor& y) {
  const float* from = f32("dropout", x);
  float* const to = f32("dropout", y);
  const int64_t* keys = dropout_ids.data<int64_t>();
  const int64_t d = x.columns();
  parallel_rows(x.rows(), d, [&](int64_t begin, int64_t end) {
    const Philox philox(seed);
    for (int64_t row = begin; row < end; ++row)
      simd().dropout(d, philox.key, uint64_t(keys[row]), from + row * d, float(p), float(1 / (1 - p)), to + row * d);
  });
}

void adamw(const Tensor& p, const Tensor& g, const Tensor& m, const Tensor& v, const Tensor& chunks, AdamWStep s) {
  float *const pp = f32("adamw", p), *const pm = f32("adamw", m), *const pv = f32("adamw", v);
  const float* pg = f32("adamw", g);
  parallel_each(size_t(chunks.rows()), [&](size_t row) {
    const int64_t* const chunk = chunks.data<int64_t>() + 4 * row;
    const int64_t i = chunk[0], n = chunk[1], flags = chunk[3];
    const AdamWRates rates{s.learning_rate,
                           s.beta1,
                           s.beta2,
                           s.eps,
                           flags & chunk_decays ? s.weight_decay : 0,
                           s.bias_correction1,
                           s.bias_correction2,
                           s.gradient_scale};
    simd().adamw(n, pp + i, pg + i, pm + i, pv + i, rates);
    if (flags & chunk_copy_is_bf16) simd().narrow(n, pp + i, reinterpret_cast<uint16_t*>(chunk[2]));
    else if (float* const copy = reinterpret_cast<float*>(chunk[2]))
      std::transform(pp + i, pp + i + n, copy, [](float x) { return float(bf16(x)); });
  });
}

}  // namespace vlm2vec::cpu
