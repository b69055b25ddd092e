// For tests of kernels on the emulator: tensors of random numbers, every schedule and number format, comparison with
// plain loops in double.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/emulator.h"
#include "kernels/kernels.h"
#include "tensor/random.h"
#include "tensor/tensor.h"

namespace vlm2vec::testing_kernels {

using Numbers = std::vector<double>;

inline Tensor tensor(Shape shape, DType dtype, const Numbers& values) {
  const Tensor t(std::move(shape), dtype, Device::cpu);
  EXPECT_EQ(size_t(t.numel()), values.size());
  dispatch_float(dtype, [&]<class T>() {
    for (size_t i = 0; i < values.size(); ++i) t.data<T>()[i] = T(values[i]);
  });
  return t.to(Device::emu);
}
inline Tensor integers(const std::vector<int32_t>& values) { return from_vector(values, Device::emu); }
inline Tensor keys(const std::vector<int64_t>& values) { return from_vector(values, Device::emu); }

// Normal numbers, rounded to the format.
inline Tensor random(Shape shape, DType dtype, uint64_t seed, double scale = 1) {
  Random draw(seed);
  Numbers values(size_t(numel(shape)));
  for (double& x : values) x = scale * draw.normal();
  return tensor(std::move(shape), dtype, values);
}
// A result to be: NaN wherever the kernel writes nothing.
inline Tensor unwritten(Shape shape, DType dtype) {
  const Numbers values(size_t(numel(shape)), std::numeric_limits<double>::quiet_NaN());
  return tensor(std::move(shape), dtype, values);
}
inline Tensor unwritten_like(const Tensor& x) { return unwritten(x.shape(), x.dtype()); }

// The same numbers behind one other: no access of 16 bytes may have their address, so scalar kernels compute with them.
inline Tensor moved(const Tensor& x) {
  const Tensor y = Tensor({x.numel() + 1}, x.dtype(), x.device()).rows(1, x.numel() + 1).view(x.shape());
  copy_bytes(x, y);
  return y;
}
// Whether f accesses 16 bytes at a time.
inline bool is_wide(const std::function<void()>& f) {
  const uint64_t before = emulator::wide_accesses;
  f();
  return emulator::wide_accesses > before;
}

inline Numbers numbers(const Tensor& x) { return to_vector<double>(x); }

// f(row) for every row of x, joined.
inline Numbers by_rows(const Numbers& x, size_t columns, auto f) {
  Numbers y;
  for (size_t r = 0; r < x.size() / columns; ++r) {
    const Numbers row = f(Numbers(x.begin() + long(r * columns), x.begin() + long((r + 1) * columns)));
    y.insert(y.end(), row.begin(), row.end());
  }
  return y;
}
// Relative to 1 + |want|; the arithmetic of a result stored in bf16 is f32, the storage rounds by 2⁻⁹.
inline double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 1e-5 : 4e-3; }

inline void expect_close(const Numbers& got, const Numbers& want, double tolerance, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(std::abs(got[i] - want[i]) <= tolerance * (1 + std::abs(want[i])))
        << what << "[" << i << "] is " << got[i] << ", expected " << want[i];
}
inline void expect_close(const Tensor& got, const Numbers& want, const char* what) {
  expect_close(numbers(got), want, tolerance(got.dtype()), what);
}

inline void in_every_schedule(const std::function<void()>& test) {
  const char* names[] = {"in order", "reversed", "random", "priority"};
  for (int s = 0; s < 4; ++s) {
    SCOPED_TRACE(names[s]);
    emulator::schedule = emulator::Schedule(s);
    test();
  }
  emulator::schedule = emulator::Schedule::in_order;
}
inline void in_every_format(const std::function<void(DType)>& test,
                            std::vector<DType> formats = {DType::f64, DType::f32, DType::bf16}) {
  in_every_schedule([&] {
    for (DType dtype : formats) {
      SCOPED_TRACE(name_of(dtype));
      test(dtype);
    }
  });
}

// d Σ_i dy_i f(x)_i / dx by central differences.
inline Numbers differences(const std::function<Numbers(const Numbers&)>& f, Numbers x, const Numbers& dy,
                           double h = 1e-5) {
  Numbers gradient(x.size());
  auto objective = [&] {
    const Numbers y = f(x);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
    return sum;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + h;
    const double above = objective();
    x[i] = at - h;
    gradient[i] = (above - objective()) / (2 * h);
    x[i] = at;
  }
  return gradient;
}
// Differences are good to about nine digits.
inline void expect_gradient(const Tensor& got, const Numbers& want, const char* what) {
  expect_close(numbers(got), want, std::max(tolerance(got.dtype()), 1e-8), what);
}

}  // namespace vlm2vec::testing_kernels
