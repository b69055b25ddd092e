// Sums over the rows of matrices, in two stages: first over parts of the rows, then over the parts, always in one
// order.
#pragma once
#include <algorithm>

#include "kernels/vectors.h"

namespace vlm2vec::BACKEND {

// Computes Σ term(row, column) over one part of the rows, into parts[part][column]. Block (x, y) is 32 × 8 threads. Of
// 32 · N columns, neighbouring threads have neighbouring N, which `term` returns. The rows go round: 8 to each part,
// then again.
constexpr int column_block = 32, row_lanes = 8, most_parts = 64;

template <int N, class A, class Term>
__device__ void column_sum(int64_t rows, int columns, A* parts, Term term) {
  SHARED(A, of_lane, [row_lanes][column_block * N]);
  const int begin = int(blockIdx.x) * column_block * N, mine = int(threadIdx.x) * N;
  Numbers<A, N> sum{};
  if (begin + mine < columns)
    // Four rows are under way at once.
    UNROLL_4 for (int64_t row = blockIdx.y * row_lanes + threadIdx.y; row < rows; row += gridDim.y * row_lanes)
      sum = each<A>([](A a, A b) { return a + b; }, sum, term(row, begin + mine));
  UNROLL for (int j = 0; j < N; ++j) of_lane[threadIdx.y][mine + j] = sum[j];
  __syncthreads();
  for (int c = int(threadIdx.y * column_block + threadIdx.x); c < column_block * N; c += row_lanes * column_block) {
    A all = of_lane[0][c];
    for (int lane = 1; lane < row_lanes; ++lane) all += of_lane[lane][c];
    if (begin + c < columns) parts[int64_t(blockIdx.y) * columns + begin + c] = all;
  }
}

// sums[c] += Σ parts[part][c], in order
template <class T>
__global__ void add_parts_kernel(const T* __restrict__ parts, T* __restrict__ sums, int count, int columns) {
  const int c = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  T sum = 0;
  for (int part = 0; part < count; ++part) sum += parts[int64_t(part) * columns + c];
  sums[c] += sum;
}

// sums += the column sums that kernel(arguments…, parts, rows, columns) computes part by part, N columns to a thread
template <class T, int N, class... P, class... Arguments>
void add_column_sums(const Tensor& sums, int64_t rows, void (*kernel)(P...), const Arguments&... arguments) {
  const int columns = int(sums.numel()), count = std::min(most_parts, int(blocks(rows, 8 * row_lanes)));
  const Tensor parts({count, columns}, sums.dtype(), sums.device());
  launch(dim3(blocks(columns, column_block * N), unsigned(count)), dim3(column_block, row_lanes), 0, kernel,
         arguments..., at<T>(parts), rows, columns);
  launch(blocks(columns, 256), 256, 0, add_parts_kernel<T>, at<T>(parts), at<T>(sums), count, columns);
}

}  // namespace vlm2vec::BACKEND
