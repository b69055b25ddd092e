// The only access to CUDA: nvcc compiles for CUDA, g++ for the emulator; kernels are the same.
//
//   SHARED(float, tile, [32][33]);   a block's array       dynamic_shared<T>()   the block's run-time sized array
//   launch(grid, block, shared_bytes, kernel, arguments…)  runs a kernel; an empty grid does nothing
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "io/error.h"

#if defined(__CUDACC__)  // ------------------------------------------------------------------------------------- CUDA
#if __CUDACC_VER_MAJOR__ < 12
#error "the kernels are C++20: nvcc 12 or newer is needed"
#endif
#if !defined(__CUDACC_RELAXED_CONSTEXPR__)
#error "pass --expt-relaxed-constexpr: without it, nvcc drops std::bit_cast from device code with a mere warning"
#endif
#include <cuda_runtime.h>

#define BACKEND gpu
#define SHARED(T, name, dimensions) __shared__ T name dimensions

namespace vlm2vec::BACKEND {

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

// memory.cu. With VLM2VEC_SYNC=1 the host waits for what it has launched, so that an error is not of an earlier launch.
void check_launch(dim3 grid = {}, dim3 block = {}, size_t shared_bytes = 0);
void allow_shared_memory(const void* kernel, size_t bytes);  // more than the 48 KiB that every kernel may have

template <class... P, class... A>
void launch(dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > 48 << 10) allow_shared_memory(reinterpret_cast<const void*>(kernel), shared_bytes);
  kernel<<<grid, block, shared_bytes>>>(static_cast<P>(arguments)...);
  check_launch(grid, block, shared_bytes);
}

// The address at which kernels find a tensor's numbers.
template <class T, class Tensor>
T* at(const Tensor& x) {
  return x.template data<T>();
}
template <class T>  // … of which the device has a table
__device__ T* from_table(int64_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace vlm2vec::BACKEND

#else  // --------------------------------------------------------------------------------------------------- emulator
#include <math.h>  // exp, log, sqrt, erf of float and of double without std::, as in CUDA

#include <algorithm>

#include "kernels/device_memory.h"
#include "kernels/emulator.h"

#define BACKEND emu
// clang-format off
#define SHARED(T, name, dimensions)                                                                             \
  static const char name##_key = 0;                                                                             \
  T(&name) dimensions = *static_cast<T(*) dimensions>(::vlm2vec::emulator::shared_array(                        \
      &name##_key, sizeof(T dimensions), alignof(T), ::vlm2vec::emulator::Site::current()))
// clang-format on

#define __global__
#define __device__
#define __launch_bounds__(...)
#define threadIdx (::vlm2vec::emulator::self->thread_idx)
#define blockIdx (::vlm2vec::emulator::self->block_idx)
#define blockDim (::vlm2vec::emulator::self->block_dim)
#define gridDim (::vlm2vec::emulator::self->grid_dim)

namespace vlm2vec::BACKEND {

using dim3 = emulator::Dim3;
using std::max, std::min;
inline float max(float a, float b) { return std::fmax(a, b); }  // as in CUDA, not a number loses
inline double max(double a, double b) { return std::fmax(a, b); }

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulator::dynamic_shared_array());
}

template <class T, class Tensor>
T* at(const Tensor& x) {
  return emulator::visible(x.template data<T>());
}
template <class T>
T* from_table(int64_t address) {
  return emulator::visible(reinterpret_cast<T*>(address));
}

template <class... P, class... A>
void launch(dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(P...), const A&... arguments) {
  if (grid.count() == 0) return;
  const std::tuple<P...> parameters(static_cast<P>(arguments)...);
  emulator::run(grid, block, shared_bytes, [&] { std::apply(kernel, parameters); });
}

// As in CUDA; `site` is the line of the call for the emulator's errors.
inline void __syncthreads(emulator::Site site = emulator::Site::current()) { emulator::block_barrier(site); }
inline void __syncwarp(uint32_t mask = ~0u, emulator::Site site = emulator::Site::current()) {
  emulator::warp_barrier(mask, site);
}
template <class T>
T __shfl_sync(uint32_t mask, T x, int lane, emulator::Site site = emulator::Site::current()) {
  return emulator::shuffle(mask, x, lane & 31, "__shfl_sync", site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T x, int bits, emulator::Site site = emulator::Site::current()) {
  return emulator::shuffle(mask, x, emulator::self->lane() ^ bits, "__shfl_xor_sync", site);
}
template <class T>  // the last lanes keep their own value
T __shfl_down_sync(uint32_t mask, T x, int by, emulator::Site site = emulator::Site::current()) {
  const int lane = emulator::self->lane();
  return emulator::shuffle(mask, x, lane + by < 32 ? lane + by : lane, "__shfl_down_sync", site);
}
inline uint32_t __ballot_sync(uint32_t mask, bool vote, emulator::Site site = emulator::Site::current()) {
  return emulator::ballot(mask, vote, site);
}

}  // namespace vlm2vec::BACKEND
#endif

namespace vlm2vec::BACKEND {

// Returns how many blocks of `size` cover n elements.
inline unsigned blocks(int64_t n, int size) { return unsigned((n + size - 1) / size); }

}  // namespace vlm2vec::BACKEND
