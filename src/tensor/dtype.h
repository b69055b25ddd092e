// Number formats. Every sum accumulates in acc_t: f32 for f32 and bf16, f64 for f64.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

#include "io/error.h"

#if defined(__CUDACC__)
#define HOST_DEVICE __host__ __device__
#else
#define HOST_DEVICE
#endif

namespace vlm2vec {

enum class DType : uint8_t { f32, bf16, f64, i32, i64, u8, f16 };

// The upper half of a float: 8 exponent bits, 7 of fraction. Rounds to nearest, ties to even.
struct bf16 {
  uint16_t bits;
  bf16() = default;
  HOST_DEVICE explicit bf16(float x) {
    uint32_t u = std::bit_cast<uint32_t>(x);
    const bool nan = (u & 0x7FFFFFFFu) > 0x7F800000u;
    bits = uint16_t(nan ? 0x7FFF : (u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
  }
  HOST_DEVICE explicit bf16(double x) : bf16(float(x)) {}
  HOST_DEVICE operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

// IEEE 754 binary16: 5 exponent bits, 10 of fraction. Stored weights only: nothing is computed in it.
struct f16 {
  uint16_t bits;
  HOST_DEVICE operator float() const {
    const uint32_t sign = uint32_t(bits & 0x8000u) << 16, magnitude = bits & 0x7FFFu;
    if (magnitude < 0x0400u) {  // m·2^-24, exact, and a normal float
      const float value = float(magnitude) * 0x1p-24f;
      return sign ? -value : value;
    }
    const uint32_t rebias = magnitude >= 0x7C00u ? 2 * (127 - 15) : 127 - 15;  // infinity and NaN stay what they are
    return std::bit_cast<float>(sign | ((magnitude << 13) + (rebias << 23)));
  }
  HOST_DEVICE static f16 nearest(float x) {  // ties to even
    const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000u, size = u & 0x7FFFFFFFu;
    uint32_t half;
    if (size > 0x7F800000u) half = 0x7E00u;                // NaN
    else if (size >= 0x477FF000u) half = 0x7C00u;          // 65520 and more round to infinity
    else if (size < 0x38800000u)                           // below 2^-14: a multiple of 2^-24, the last bit of 0.5 + …
      half = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3F000000u;
    else half = (size - (112u << 23) + 0xFFFu + (size >> 13 & 1u)) >> 13;
    return {uint16_t(sign | half)};
  }
};
// Returns x in another format.
template <class To, class From>
HOST_DEVICE To convert(From x) {
  if constexpr (std::is_same_v<To, f16>) return f16::nearest(float(x));
  else return To(x);
}

template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <class T>
using acc_t = typename Accumulator<T>::type;

template <class T>
struct DTypeOf;  // does not compile for types that no tensor holds
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct DTypeOf<bf16> : std::integral_constant<DType, DType::bf16> {};
template <>
struct DTypeOf<f16> : std::integral_constant<DType, DType::f16> {};
template <>
struct DTypeOf<double> : std::integral_constant<DType, DType::f64> {};
template <>
struct DTypeOf<int32_t> : std::integral_constant<DType, DType::i32> {};
template <>
struct DTypeOf<int64_t> : std::integral_constant<DType, DType::i64> {};
template <>
struct DTypeOf<uint8_t> : std::integral_constant<DType, DType::u8> {};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

constexpr int64_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "bf16", "f64", "i32", "i64", "u8", "f16"};
  return names[int(t)];
}
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::bf16 || t == DType::f64 || t == DType::f16; }
// The type of sums over numbers of this type.
constexpr DType acc_of(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

// dispatch_float(x.dtype(), [&]<class T>() { … }) runs the body with T = float, bf16 or double; dispatch_stored also
// accepts f16.
template <class F>
void dispatch_float(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      return f.template operator()<float>();
    case DType::bf16:
      return f.template operator()<bf16>();
    case DType::f64:
      return f.template operator()<double>();
    default:
      fail(Exit::failed, "expected a tensor of floats to compute with, got ", name_of(t));
  }
}
template <class F>
void dispatch_stored(DType t, F&& f) {
  if (t == DType::f16) return f.template operator()<f16>();
  dispatch_float(t, f);
}

}  // namespace vlm2vec
