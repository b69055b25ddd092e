// The part of the dialect that tensor cores need: products of bf16 fragments, and copies that bring tiles to them. PTX
// under nvcc, the emulator's calls under g++.
//
// A fragment is a small matrix spread over the registers of a warp, two bf16 in each. With g = lane / 4, t = lane % 4:
//
//   A 16 × 16, four registers: i has row g + 8 (i % 2), columns 2t + 8 (i / 2) and the next
//   B 16 × 8, two registers:   i has rows 2t + 8i and the next, column g
//   C 16 × 8, four floats:     i has row g + 8 (i / 2), column 2t + i % 2
//
// Two C fragments side by side, rounded to bf16, are one A fragment: so the scores of attention become weights without
// leaving their registers.
#pragma once
#include <bit>

#include "kernels/cuda.h"
#include "tensor/dtype.h"

#if defined(__CUDACC__)
#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")
#define ROLLED _Pragma("unroll 1")
#define CALL_SITE
#define PASS_SITE
#else
#define UNROLL
#define UNROLL_4
#define ROLLED
#define CALL_SITE , emulator::Site site = emulator::Site::current()
#define PASS_SITE , site
#endif

namespace vlm2vec::BACKEND {

// Copies 16 or 4 bytes from global to shared memory without registers and without waiting; zeros if not `valid`.
template <int bytes = 16>
__device__ void copy_async(void* shared, const void* global, bool valid CALL_SITE) {
  static_assert(bytes == 16 || bytes == 4);
#if defined(__CUDACC__)
  const uint32_t to = uint32_t(__cvta_generic_to_shared(shared));
  const int read = valid ? bytes : 0;
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(read) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(global), "r"(read) : "memory");
#else
  emulator::copy_async(shared, global, bytes, valid, site);
#endif
}
// Ends a group of copies. Each thread waits for its own; a barrier behind the wait shows the data to the others.
__device__ inline void commit_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::commit_copies();
#endif
}
template <int groups_left = 0>  // the last ones
__device__ void wait_for_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
#else
  emulator::wait_for_copies(groups_left);
#endif
}

// Loads four 8 × 8 matrices from shared memory: lane l gives the address of row l % 8 of matrix l / 8. Register m gets
// what a fragment has of matrix m, or of its transpose.
template <bool transposed>
__device__ inline void load_matrices(uint32_t (&to)[4], const bf16* row CALL_SITE) {
#if defined(__CUDACC__)
  const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
#else
  emulator::load_matrices(to, row, transposed, site);
#endif
}

// C += A·B
__device__ inline void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1 CALL_SITE) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  emulator::multiply_matrices(c, a, {b0, b1}, site);
#endif
}

// Returns two numbers rounded to bf16, the first in the low half.
__device__ inline uint32_t pack(float low, float high) {
#if defined(__CUDA_ARCH__)
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return uint32_t(bf16(low).bits) | uint32_t(bf16(high).bits) << 16;
#endif
}

// 16 bytes of numbers in registers. In memory their address is a multiple of 16.
template <class T>
struct alignas(16) Wide {
  static constexpr int count = 16 / sizeof(T);
  T x[count];
};
template <class T>
__device__ Wide<T> load_16_bytes(const T* from CALL_SITE) {
#if defined(__CUDACC__)
  return std::bit_cast<Wide<T>>(*reinterpret_cast<const uint4*>(from));
#else
  Wide<T> x;
  emulator::read_at_once(&x, from, sizeof x, site);
  return x;
#endif
}
// To global memory. The PTX says so in words: nvcc 13 split a plain assignment in four.
template <class T>
__device__ void store_16_bytes(T* global, const Wide<T>& x CALL_SITE) {
#if defined(__CUDACC__)
  const uint4 words = std::bit_cast<uint4>(x);
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(global)), "r"(words.x),
               "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
#else
  emulator::write_at_once(global, &x, sizeof x, site);
#endif
}

// Stores 8 bytes at once. Four lanes, each with two neighbours of a C fragment, write a sector of 32.
__device__ inline void store_pair(uint32_t* global, uint32_t first, uint32_t second CALL_SITE) {
#if defined(__CUDACC__)
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(global)), "r"(first), "r"(second)
               : "memory");
#else
  const uint32_t pair[2] = {first, second};
  emulator::write_at_once(global, pair, sizeof pair, site);
#endif
}
__device__ inline void store_pair(float* global, float first, float second CALL_SITE) {
  store_pair(reinterpret_cast<uint32_t*>(global), std::bit_cast<uint32_t>(first),
             std::bit_cast<uint32_t>(second) PASS_SITE);
}
// … and in shared memory
__device__ inline void put_pair(float* shared, float first, float second CALL_SITE) {
#if defined(__CUDACC__)
  *reinterpret_cast<float2*>(shared) = make_float2(first, second);
#else
  store_pair(shared, first, second PASS_SITE);
#endif
}

// Adds to a number of global memory, to which other threads add at the same time. The order, and so the bits, vary.
__device__ inline void add_atomically(float* global, float x CALL_SITE) {
#if defined(__CUDACC__)
  atomicAdd(global, x);
#else
  emulator::add_atomically(global, x, site);
#endif
}

// Fragments of a tile of bf16 in shared memory, [rows][pitch]. A pitch of 8 more than a multiple of 16 numbers lets the
// eight rows of a matrix lie in different banks.
struct Tile {
  bf16* first;
  int pitch;
  __device__ bf16* at(int row, int column) const { return first + row * pitch + column; }
  // A[i, k] = tile[row + i, column + k]
  __device__ void load_a(uint32_t (&a)[4], int row, int column) const {
    const int lane = threadIdx.x % 32;
    load_matrices<false>(a, at(row + lane % 16, column + lane / 16 * 8));
  }
  // A[i, k] = tile[row + k, column + i]
  __device__ void load_a_transposed(uint32_t (&a)[4], int row, int column) const {
    const int lane = threadIdx.x % 32;
    load_matrices<true>(a, at(row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2 * 8));
  }
  // B[k, j] = tile[row + j, column + k], of 16 rows j: {b[0], b[1]} and {b[2], b[3]} have 8 each.
  __device__ void load_b(uint32_t (&b)[4], int row, int column) const {
    const int lane = threadIdx.x % 32;
    load_matrices<false>(b, at(row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2 * 8));
  }
  // B[k, j] = tile[row + k, column + j], of 16 columns j.
  __device__ void load_b_transposed(uint32_t (&b)[4], int row, int column) const {
    const int lane = threadIdx.x % 32;
    load_matrices<true>(b, at(row + lane % 16, column + lane / 16 * 8));
  }
};

}  // namespace vlm2vec::BACKEND
