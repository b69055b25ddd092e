// Sums over a warp and a block, and maxima over a warp, in a fixed order: all threads and all runs get the same bits.
#pragma once
#include "kernels/cuda.h"

namespace vlm2vec::BACKEND {

// Lanes add in pairs at distance 16, 8, 4, 2, 1; a + b = b + a, so all lanes end with the same number.
template <class T>
__device__ T warp_sum(T x) {
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(~0u, x, bits);
  return x;
}

template <class T>
__device__ T warp_max(T x) {
  for (int bits = 16; bits > 0; bits /= 2) x = max(x, __shfl_xor_sync(~0u, x, bits));
  return x;
}

// For a block of whole warps in x: each warp gives one sum, and every thread adds them in the same order.
template <class T>
__device__ T block_sum(T x) {
  const T sum = warp_sum(x);
  SHARED(T, of_warp, [32]);
  __syncthreads();  // all threads have read an earlier call's values
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  __syncthreads();
  T all = of_warp[0];
  for (unsigned w = 1; w < blockDim.x / 32; ++w) all += of_warp[w];
  return all;
}

}  // namespace vlm2vec::BACKEND
