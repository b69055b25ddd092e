// Sums, products, activations, dropout. Arithmetic is in acc_t, storage in T. A thread computes one element, or 16
// bytes of them.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
#include "kernels/vectors.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {
namespace {

template <class F>
__global__ void each_kernel(int64_t n, F f) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) f(i);
}
template <class F>
void for_each(int64_t n, F f) {
  launch(blocks(n, 256), 256, 0, each_kernel<F>, n, f);
}

// Calls f.at<N>(i), the formula of elements i … i + N − 1.
template <int N, class F>
__global__ void __launch_bounds__(256) each_n_kernel(int64_t n, F f) {
  const int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i < n) f.template at<N>(i);
}
// 16 bytes of T at a time if the addresses `fit` and so does n.
template <class T, class F>
void for_each_wide(int64_t n, bool fit, F f) {
  with_width<T>(fit && n % wide<T> == 0,
                [&]<int N>() { launch(blocks(n, 256 * N), 256, 0, each_n_kernel<N, F>, n, f); });
}

template <class T>
struct Fill {
  T* y;
  acc_t<T> value;
  template <int N>
  __device__ void at(int64_t i) const {
    Numbers<acc_t<T>, N> values;
    UNROLL for (int j = 0; j < N; ++j) values[j] = value;
    store(y + i, values);
  }
};

template <class From, class To>
struct Cast {
  const From* x;
  To* y;
  template <int N>
  __device__ void at(int64_t i) const {
    store(y + i, load<N>(x + i));
  }
};

template <class T>
struct Add {
  const T *a, *b;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    store(y + i, each<acc_t<T>>([](auto a, auto b) { return a + b; }, load<N>(a + i), load<N>(b + i)));
  }
};

template <class T>
struct Multiply {
  const T *a, *b;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    store(y + i, each<acc_t<T>>([](auto a, auto b) { return a * b; }, load<N>(a + i), load<N>(b + i)));
  }
};

template <class T>
struct Scale {
  const T* x;
  acc_t<T> factor;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    store(y + i, each<acc_t<T>>([by = factor](auto x) { return x * by; }, load<N>(x + i)));
  }
};

// y[r, c] = x[r, c]·factors[c] + bias[c];   dx = dy·factors,   dfactors[c] = Σ_r dy[r, c]·x[r, c]
template <class T>
struct ScaleColumns {
  const T* x;
  const acc_t<T> *factors, *bias;
  int64_t columns;
  T* y;
  __device__ void operator()(int64_t i) const {
    const int64_t c = i % columns;
    y[i] = T(acc_t<T>(x[i]) * factors[c] + (bias ? bias[c] : acc_t<T>(0)));
  }
};

template <class A>
__device__ A sigmoid(A x) {
  return 1 / (1 + exp(-x));
}

// f(x) and f'(x).  silu: x·σ(x).  gelu: x·Φ(x), Φ the normal distribution (exact, by erf).  quick_gelu: x·σ(1.702x).
// gelu_tanh: x·(1 + tanh(u))/2 = x·σ(2u), u = √(2/π)·(x + 0.044715x³).
template <class A>
__device__ A activation(Activation f, A x) {
  switch (f) {
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return x * A(0.5) * (1 + erf(x * A(0.70710678118654752440)));
    case Activation::quick_gelu:
      return x * sigmoid(A(1.702) * x);
    case Activation::gelu_tanh:
      return x * sigmoid(A(1.59576912160573071176) * (x + A(0.044715) * x * x * x));
  }
  return 0;
}
// The slope of x·σ(ax).
template <class A>
__device__ A sigmoid_slope(A a, A x) {
  const A s = sigmoid(a * x);
  return s * (1 + a * x * (1 - s));
}
template <class A>
__device__ A activation_slope(Activation f, A x) {
  switch (f) {
    case Activation::silu:
      return sigmoid_slope(A(1), x);
    case Activation::gelu:  // Φ(x) + x·φ(x)
      return A(0.5) * (1 + erf(x * A(0.70710678118654752440))) + x * exp(A(-0.5) * x * x) * A(0.39894228040143267794);
    case Activation::quick_gelu:
      return sigmoid_slope(A(1.702), x);
    case Activation::gelu_tanh: {  // σ(v)·(1 + (1 − σ(v))·x·v'), v = 2u
      const A two_u = A(1.59576912160573071176), cube = A(0.044715);
      const A s = sigmoid(two_u * (x + cube * x * x * x));
      return s * (1 + (1 - s) * x * (two_u * (1 + 3 * cube * x * x)));
    }
  }
  return 0;
}

// Calls use(f) with an f that the compiler knows.
template <class Use>
__device__ void with_constant(Activation f, Use use) {
  const auto with = [&]<Activation F>() { use(std::integral_constant<Activation, F>()); };
  switch (f) {
    case Activation::silu:
      return with.template operator()<Activation::silu>();
    case Activation::gelu:
      return with.template operator()<Activation::gelu>();
    case Activation::quick_gelu:
      return with.template operator()<Activation::quick_gelu>();
    case Activation::gelu_tanh:
      return with.template operator()<Activation::gelu_tanh>();
  }
}

template <class T>
struct Activate {
  const T* x;
  Activation f;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    using A = acc_t<T>;
    with_constant(f, [&](auto f) { store(y + i, each<A>([=](A x) { return activation<A>(f, x); }, load<N>(x + i))); });
  }
};

template <class T>
struct ActivateDx {
  const T *dy, *x;
  Activation f;
  T* dx;
  template <int N>
  __device__ void at(int64_t i) const {
    using A = acc_t<T>;
    with_constant(f, [&](auto f) {
      store(dx + i, each<A>([=](A d, A x) { return d * activation_slope<A>(f, x); }, load<N>(dy + i), load<N>(x + i)));
    });
  }
};

// y = silu(gate)·up   (Shazeer 2020);   dgate = dy·up·silu'(gate),   dup = dy·silu(gate)
template <int N, class T>
__device__ void swiglu_at(const T* gate, const T* up, T* y) {
  using A = acc_t<T>;
  store(y, each<A>([](A g, A u) { return activation(Activation::silu, g) * u; }, load<N>(gate), load<N>(up)));
}
template <int N, class T>
__device__ void swiglu_backward_at(const T* dy, const T* gate, const T* up, T* dgate, T* dup) {
  using A = acc_t<T>;
  const auto d = load<N>(dy), g = load<N>(gate), u = load<N>(up);
  store(dgate, each<A>([](A d, A g, A u) { return d * u * activation_slope(Activation::silu, g); }, d, g, u));
  store(dup, each<A>([](A d, A g) { return d * activation(Activation::silu, g); }, d, g));
}

template <class T>
struct Swiglu {
  const T *gate, *up;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    swiglu_at<N>(gate + i, up + i, y + i);
  }
};
template <class T>
struct SwigluBackward {
  const T *dy, *gate, *up;
  T *dgate, *dup;
  template <int N>
  __device__ void at(int64_t i) const {
    swiglu_backward_at<N>(dy + i, gate + i, up + i, dgate + i, dup + i);
  }
};

// gate and up side by side in the rows of one tensor
template <class T>
struct PackedSwiglu {
  const T* gate_up;
  int64_t columns;
  T* y;
  template <int N>
  __device__ void at(int64_t i) const {
    const T* const gate = gate_up + i / columns * columns + i;  // row · 2 columns + column
    swiglu_at<N>(gate, gate + columns, y + i);
  }
};
template <class T>
struct PackedSwigluBackward {
  const T *dy, *gate_up;
  int64_t columns;
  T* dgate_up;
  template <int N>
  __device__ void at(int64_t i) const {
    const int64_t gate = i / columns * columns + i, up = gate + columns;
    swiglu_backward_at<N>(dy + i, gate_up + gate, gate_up + up, dgate_up + gate, dgate_up + up);
  }
};

// y = x · 1/(1 − p), or 0 where uniform(word column % 4 of Philox(seed)(row key, column / 4)) < p.  One thread per four
// columns: i counts them row by row.
template <class T>
struct Dropout {
  const T* x;
  const int64_t* dropout_ids;
  int64_t columns;
  float p;
  acc_t<T> factor;
  uint64_t seed;
  T* y;
  __device__ void operator()(int64_t i) const {
    const int64_t fours = (columns + 3) / 4, row = i / fours, four = i % fours;
    const auto words = Philox(seed)(uint64_t(dropout_ids[row]), uint64_t(four));
    for (int w = 0; w < 4; ++w)
      if (const int64_t c = 4 * four + w, e = row * columns + c; c < columns)
        y[e] = uniform(words.word[w]) < p ? T(0.f) : T(acc_t<T>(x[e]) * factor);
  }
  template <int N>  // a multiple of 4
  __device__ void at(int64_t i) const {
    const int64_t row = i / columns, four = i % columns / 4;
    auto numbers = load<N>(x + i);
    UNROLL for (int f = 0; f < N / 4; ++f) {
      const auto words = Philox(seed)(uint64_t(dropout_ids[row]), uint64_t(four + f));
      UNROLL for (int w = 0; w < 4; ++w) {
        acc_t<T>& v = numbers[4 * f + w];
        v = uniform(words.word[w]) < p ? 0 : v * factor;
      }
    }
    store(y + i, numbers);
  }
};

}  // namespace

void fill(const Tensor& y, double value) {
  dispatch_float(y.dtype(), [&]<class T>() {
    for_each_wide<T>(y.numel(), aligned_16({&y}), Fill<T>{at<T>(y), acc_t<T>(value)});
  });
}

void cast(const Tensor& x, const Tensor& y) {
  dispatch_stored(x.dtype(), [&]<class From>() {
    dispatch_stored(y.dtype(), [&]<class To>() {
      for_each_wide<narrower_t<From, To>>(x.numel(), aligned_16({&x, &y}), Cast<From, To>{at<From>(x), at<To>(y)});
    });
  });
}

void add(const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_float(a.dtype(), [&]<class T>() {
    for_each_wide<T>(a.numel(), aligned_16({&a, &b, &y}), Add<T>{at<T>(a), at<T>(b), at<T>(y)});
  });
}
void add_to(const Tensor& x, const Tensor& y) { add(x, y, y); }

void multiply(const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_float(a.dtype(), [&]<class T>() {
    for_each_wide<T>(a.numel(), aligned_16({&a, &b, &y}), Multiply<T>{at<T>(a), at<T>(b), at<T>(y)});
  });
}

void scale(const Tensor& x, double factor, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each_wide<T>(x.numel(), aligned_16({&x, &y}), Scale<T>{at<T>(x), acc_t<T>(factor), at<T>(y)});
  });
}

void scale_columns(const Tensor& x, const Tensor& factors, const Tensor& bias, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    using A = acc_t<T>;
    for_each(x.numel(), ScaleColumns<T>{at<T>(x), at<A>(factors), bias ? at<A>(bias) : nullptr, x.columns(),
                                        at<T>(y)});
  });
}

void activate(const Tensor& x, Activation f, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each_wide<T>(x.numel(), aligned_16({&x, &y}), Activate<T>{at<T>(x), f, at<T>(y)});
  });
}
void activate_dx(const Tensor& dy, const Tensor& x, Activation f, const Tensor& dx) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each_wide<T>(x.numel(), aligned_16({&dy, &x, &dx}), ActivateDx<T>{at<T>(dy), at<T>(x), f, at<T>(dx)});
  });
}

void swiglu(const Tensor& gate, const Tensor& up, const Tensor& y) {
  dispatch_float(gate.dtype(), [&]<class T>() {
    for_each_wide<T>(gate.numel(), aligned_16({&gate, &up, &y}), Swiglu<T>{at<T>(gate), at<T>(up), at<T>(y)});
  });
}
void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate, const Tensor& dup) {
  dispatch_float(gate.dtype(), [&]<class T>() {
    for_each_wide<T>(gate.numel(), aligned_16({&dy, &gate, &up, &dgate, &dup}),
                     SwigluBackward<T>{at<T>(dy), at<T>(gate), at<T>(up), at<T>(dgate), at<T>(dup)});
  });
}

void packed_swiglu(const Tensor& gate_up, const Tensor& y) {
  dispatch_float(y.dtype(), [&]<class T>() {
    for_each_wide<T>(y.numel(), whole_rows({&y}) && aligned_16({&gate_up}),
                     PackedSwiglu<T>{at<T>(gate_up), y.columns(), at<T>(y)});
  });
}
void packed_swiglu_backward(const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  dispatch_float(dy.dtype(), [&]<class T>() {
    for_each_wide<T>(dy.numel(), whole_rows({&dy}) && aligned_16({&gate_up, &dgate_up}),
                     PackedSwigluBackward<T>{at<T>(dy), at<T>(gate_up), dy.columns(), at<T>(dgate_up)});
  });
}

void dropout(const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    const Dropout<T> f{at<T>(x), at<int64_t>(dropout_ids), x.columns(), float(p), acc_t<T>(1 / (1 - p)), seed,
                       at<T>(y)};
    with_width<T>(whole_rows({&x}) && aligned_16({&y}), [&]<int N>() {
      if constexpr (N > 1) launch(blocks(x.numel(), 256 * N), 256, 0, each_n_kernel<N, Dropout<T>>, x.numel(), f);
      else for_each(x.rows() * blocks(x.columns(), 4), f);
    });
  });
}

}  // namespace vlm2vec::BACKEND
