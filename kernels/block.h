// Sums over a warp and a block, and maxima over a warp, in a fixed order: all threads and all runs get the same bits.
#pragma once
#include <algorithm>

#include "kernels/cuda.h"
#include "tensor/tensor.h"

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

// Computes Σ term(row, column) over one part of the rows for 32 columns, into parts[part][column]. Block (x, y) is 32
// columns × 8: neighbouring threads read neighbouring columns, and the rows go round: 8 to each part, then again.
constexpr int column_block = 32, row_lanes = 8, most_parts = 64;

template <class T, class Term>
__device__ void column_sum(int64_t rows, int columns, T* parts, Term term) {
  SHARED(T, of_lane, [row_lanes][column_block]);
  const int c = int(blockIdx.x * column_block + threadIdx.x), column = min(c, columns - 1);
  T sum = 0;
  for (int64_t row = blockIdx.y * row_lanes + threadIdx.y; row < rows; row += gridDim.y * row_lanes)
    sum += term(row, column);
  of_lane[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= columns) return;
  for (int lane = 1; lane < row_lanes; ++lane) sum += of_lane[lane][threadIdx.x];
  parts[int64_t(blockIdx.y) * columns + c] = sum;
}

// sums[c] += Σ parts[part][c], in order
template <class T>
__global__ void add_parts_kernel(const T* parts, T* sums, int count, int columns) {
  const int c = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  T sum = 0;
  for (int part = 0; part < count; ++part) sum += parts[int64_t(part) * columns + c];
  sums[c] += sum;
}

// sums += the column sums that kernel(arguments…, parts, rows, columns) computes part by part
template <class T, class... P, class... Arguments>
void add_column_sums(const Tensor& sums, int64_t rows, void (*kernel)(P...), const Arguments&... arguments) {
  const int columns = int(sums.numel()), count = std::min(most_parts, int(blocks(rows, 8 * row_lanes)));
  const Tensor parts({count, columns}, sums.dtype(), sums.device());
  launch(dim3(blocks(columns, column_block), unsigned(count)), dim3(column_block, row_lanes), 0, kernel, arguments...,
         at<T>(parts), rows, columns);
  launch(blocks(columns, 256), 256, 0, add_parts_kernel<T>, at<T>(parts), at<T>(sums), count, columns);
}

}  // namespace vlm2vec::BACKEND
