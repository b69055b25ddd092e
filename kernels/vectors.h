// Numbers of global memory, 16 bytes at a time. A formula over Numbers<A, N> is the scalar kernel for N = 1, and the
// fast one for the N of wide<T>: the host takes it where addresses and sizes fit.
#pragma once
#include <algorithm>
#include <bit>
#include <initializer_list>
#include <type_traits>

#include "kernels/tensor_core.h"
#include "tensor/tensor.h"

namespace vlm2vec::BACKEND {

using Words = Wide<uint32_t>;
template <class T>
__device__ Words load_16(const T* from CALL_SITE) {
  return load_16_bytes(reinterpret_cast<const uint32_t*>(from) PASS_SITE);
}
template <class T>
__device__ void store_16(T* to, const Words& x CALL_SITE) {
  store_16_bytes(reinterpret_cast<uint32_t*>(to), x PASS_SITE);
}

// Numbers of T in 16 bytes; f64 has no fast kernels.
template <class T>
inline constexpr int wide = std::is_same_v<T, double> ? 1 : int(16 / sizeof(T));

template <class A, int N>
struct Numbers {
  A x[N];
  __device__ A& operator[](int i) { return x[i]; }
  __device__ const A& operator[](int i) const { return x[i]; }
};

// The numbers of T in 16 bytes.
template <class T>
__device__ Numbers<float, wide<T>> unpack(const Words& words) {
  Numbers<float, wide<T>> y;
  UNROLL for (int w = 0; w < 4; ++w) {
    const uint32_t bits = words.x[w];
    if constexpr (std::is_same_v<T, float>) y[w] = std::bit_cast<float>(bits);
    else if constexpr (std::is_same_v<T, bf16>)
      y[2 * w] = std::bit_cast<float>(bits << 16), y[2 * w + 1] = std::bit_cast<float>(bits & 0xFFFF0000u);
    else y[2 * w] = T{uint16_t(bits)}, y[2 * w + 1] = T{uint16_t(bits >> 16)};
  }
  return y;
}
template <class T>
__device__ Words pack(const Numbers<float, wide<T>>& x) {
  Words words;
  UNROLL for (int w = 0; w < 4; ++w) {
    if constexpr (std::is_same_v<T, float>) words.x[w] = std::bit_cast<uint32_t>(x[w]);
    else if constexpr (std::is_same_v<T, bf16>) words.x[w] = pack(x[2 * w], x[2 * w + 1]);
    else words.x[w] = uint32_t(f16::nearest(x[2 * w]).bits) | uint32_t(f16::nearest(x[2 * w + 1]).bits) << 16;
  }
  return words;
}

// The N numbers from here on: one, or a multiple of those in 16 bytes.
template <int N, class T>
__device__ Numbers<acc_t<T>, N> load(const T* from) {
  Numbers<acc_t<T>, N> y;
  if constexpr (N == 1) y[0] = from[0];
  else UNROLL for (int i = 0; i < N; i += wide<T>) {
      const auto part = unpack<T>(load_16(from + i));
      UNROLL for (int j = 0; j < wide<T>; ++j) y[i + j] = part[j];
    }
  return y;
}
// The 8 numbers from here on, where neighbouring lanes want 16 side by side: each lane reads 16 bytes of either half of
// the 64, and they swap what is the other's. By plain loads, two of 16 bytes at a stride of 32, a warp would read every
// sector twice. Both lanes of a pair call it.
__device__ inline Numbers<float, 8> load_by_pairs(const float* from) {
  const int lane = int(threadIdx.x % 32), odd = lane % 2;
  const Words first = load_16(from - 4 * odd), last = load_16(from + 8 - 4 * odd);
  Numbers<float, 8> y;
  UNROLL for (int w = 0; w < 4; ++w) {
    const uint32_t swapped = __shfl_xor_sync(3u << (lane - odd), odd ? first.x[w] : last.x[w], 1);
    y[w] = std::bit_cast<float>(odd ? swapped : first.x[w]);
    y[4 + w] = std::bit_cast<float>(odd ? last.x[w] : swapped);
  }
  return y;
}
template <class T, class A, int N>
__device__ void store(T* to, const Numbers<A, N>& x) {
  if constexpr (N == 1) to[0] = convert<T>(x[0]);
  else UNROLL for (int i = 0; i < N; i += wide<T>) {
      Numbers<float, wide<T>> part;
      UNROLL for (int j = 0; j < wide<T>; ++j) part[j] = x[i + j];
      store_16(to + i, pack<T>(part));
    }
}

// y[j] = f(x[j]…)
template <class A, int N, class F, class... X>
__device__ Numbers<A, N> each(F f, const Numbers<X, N>&... x) {
  Numbers<A, N> y;
  UNROLL for (int j = 0; j < N; ++j) y[j] = f(x[j]...);
  return y;
}

// The type whose numbers in 16 bytes are a step of both; f64, if one of them is it.
template <class X, class Y>
using narrower_t =
    std::conditional_t<sizeof(X) == 8 || sizeof(Y) == 8, double, std::conditional_t<(sizeof(X) < sizeof(Y)), X, Y>>;

// Runs f<N>: 16 bytes of T at a time if they fit, else one number.
template <class T, class F>
void with_width(bool fits, F f) {
  if constexpr (wide < T >> 1)
    if (fits) return f.template operator()<wide<T>>();
  f.template operator()<1>();
}

template <class T>
T* at_or_null(const Tensor& x) {
  return x ? at<T>(x) : nullptr;
}

// Whether all tensors begin at a multiple of 16 bytes; undefined ones do.
inline bool aligned_16(std::initializer_list<const Tensor*> tensors) {
  return std::ranges::all_of(tensors, [](const Tensor* x) { return !*x || uintptr_t(x->raw()) % 16 == 0; });
}
// Whether besides all of their rows are whole groups of 16 bytes.
inline bool whole_rows(std::initializer_list<const Tensor*> tensors) {
  return aligned_16(tensors) && std::ranges::all_of(tensors, [](const Tensor* x) {
           return !*x || x->columns() * size_of(x->dtype()) % 16 == 0;
         });
}

}  // namespace vlm2vec::BACKEND
