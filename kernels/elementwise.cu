// One thread per element: sums, products, activations, dropout. Arithmetic is in acc_t, storage in T.
#include "kernels/cuda.h"
#include "kernels/kernels.h"
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

template <class T>
struct Fill {
  T* y;
  T value;
  __device__ void operator()(int64_t i) const { y[i] = value; }
};

template <class From, class To>
struct Cast {
  const From* x;
  To* y;
  __device__ void operator()(int64_t i) const { y[i] = convert<To>(x[i]); }
};

template <class T>
struct Add {
  const T *a, *b;
  T* y;
  __device__ void operator()(int64_t i) const { y[i] = T(acc_t<T>(a[i]) + acc_t<T>(b[i])); }
};

template <class T>
struct Multiply {
  const T *a, *b;
  T* y;
  __device__ void operator()(int64_t i) const { y[i] = T(acc_t<T>(a[i]) * acc_t<T>(b[i])); }
};

template <class T>
struct Scale {
  const T* x;
  acc_t<T> factor;
  T* y;
  __device__ void operator()(int64_t i) const { y[i] = T(acc_t<T>(x[i]) * factor); }
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

template <class T>
struct Activate {
  const T* x;
  Activation f;
  T* y;
  __device__ void operator()(int64_t i) const { y[i] = T(activation(f, acc_t<T>(x[i]))); }
};

template <class T>
struct ActivateDx {
  const T *dy, *x;
  Activation f;
  T* dx;
  __device__ void operator()(int64_t i) const { dx[i] = T(acc_t<T>(dy[i]) * activation_slope(f, acc_t<T>(x[i]))); }
};

// y = silu(gate)·up   (Shazeer 2020);   dgate = dy·up·silu'(gate),   dup = dy·silu(gate)
template <class T>
struct Swiglu {
  const T *gate, *up;
  T* y;
  __device__ void operator()(int64_t i) const {
    y[i] = T(activation(Activation::silu, acc_t<T>(gate[i])) * acc_t<T>(up[i]));
  }
};
template <class T>
struct SwigluBackward {
  const T *dy, *gate, *up;
  T *dgate, *dup;
  __device__ void operator()(int64_t i) const {
    const acc_t<T> d = dy[i], g = gate[i], u = up[i];
    dgate[i] = T(d * u * activation_slope(Activation::silu, g));
    dup[i] = T(d * activation(Activation::silu, g));
  }
};

// gate and up side by side in the rows of one tensor
template <class T>
struct PackedSwiglu {
  const T* gate_up;
  int64_t columns;
  T* y;
  __device__ void operator()(int64_t i) const {
    const T* const gate = gate_up + i / columns * columns + i;  // row · 2 columns + column
    y[i] = T(activation(Activation::silu, acc_t<T>(gate[0])) * acc_t<T>(gate[columns]));
  }
};
template <class T>
struct PackedSwigluBackward {
  const T *dy, *gate_up;
  int64_t columns;
  T* dgate_up;
  __device__ void operator()(int64_t i) const {
    const int64_t at = i / columns * columns + i;
    const acc_t<T> d = dy[i], g = gate_up[at], u = gate_up[at + columns];
    dgate_up[at] = T(d * u * activation_slope(Activation::silu, g));
    dgate_up[at + columns] = T(d * activation(Activation::silu, g));
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
};

}  // namespace

void fill(const Tensor& y, double value) {
  dispatch_float(y.dtype(), [&]<class T>() { for_each(y.numel(), Fill<T>{at<T>(y), T(value)}); });
}

void cast(const Tensor& x, const Tensor& y) {
  dispatch_stored(x.dtype(), [&]<class From>() {
    dispatch_stored(y.dtype(), [&]<class To>() { for_each(x.numel(), Cast<From, To>{at<From>(x), at<To>(y)}); });
  });
}

void add(const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_float(a.dtype(), [&]<class T>() { for_each(a.numel(), Add<T>{at<T>(a), at<T>(b), at<T>(y)}); });
}
void add_to(const Tensor& x, const Tensor& y) { add(x, y, y); }

void multiply(const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch_float(a.dtype(), [&]<class T>() {
    for_each(a.numel(), Multiply<T>{at<T>(a), at<T>(b), at<T>(y)});
  });
}

void scale(const Tensor& x, double factor, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each(x.numel(), Scale<T>{at<T>(x), acc_t<T>(factor), at<T>(y)});
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
  dispatch_float(x.dtype(), [&]<class T>() { for_each(x.numel(), Activate<T>{at<T>(x), f, at<T>(y)}); });
}
void activate_dx(const Tensor& dy, const Tensor& x, Activation f, const Tensor& dx) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each(x.numel(), ActivateDx<T>{at<T>(dy), at<T>(x), f, at<T>(dx)});
  });
}

void swiglu(const Tensor& gate, const Tensor& up, const Tensor& y) {
  dispatch_float(gate.dtype(), [&]<class T>() {
    for_each(gate.numel(), Swiglu<T>{at<T>(gate), at<T>(up), at<T>(y)});
  });
}
void swiglu_backward(const Tensor& dy, const Tensor& gate, const Tensor& up, const Tensor& dgate, const Tensor& dup) {
  dispatch_float(gate.dtype(), [&]<class T>() {
    for_each(gate.numel(),
             SwigluBackward<T>{at<T>(dy), at<T>(gate), at<T>(up), at<T>(dgate), at<T>(dup)});
  });
}

void packed_swiglu(const Tensor& gate_up, const Tensor& y) {
  dispatch_float(y.dtype(), [&]<class T>() {
    for_each(y.numel(), PackedSwiglu<T>{at<T>(gate_up), y.columns(), at<T>(y)});
  });
}
void packed_swiglu_backward(const Tensor& dy, const Tensor& gate_up, const Tensor& dgate_up) {
  dispatch_float(dy.dtype(), [&]<class T>() {
    for_each(dy.numel(), PackedSwigluBackward<T>{at<T>(dy), at<T>(gate_up), dy.columns(), at<T>(dgate_up)});
  });
}

void dropout(const Tensor& x, const Tensor& dropout_ids, double p, uint64_t seed, const Tensor& y) {
  dispatch_float(x.dtype(), [&]<class T>() {
    for_each(x.rows() * blocks(x.columns(), 4), Dropout<T>{at<T>(x), at<int64_t>(dropout_ids), x.columns(), float(p),
                                                           acc_t<T>(1 / (1 - p)), seed, at<T>(y)});
  });
}

}  // namespace vlm2vec::BACKEND
