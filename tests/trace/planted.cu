// Each mistake takes one piece out of a kernel that is right.
#include "planted.h"

#include "kernels/block.h"
#include "kernels/tensor_core.h"
#include "tensor/tensor.h"

namespace vlm2vec::trace {
namespace {

using namespace emu;
constexpr int threads = 64, width = 32;

template <Mistake mistake>
__global__ void planted_kernel(const float* in, float* out, int64_t size) {
  SHARED(float, swapped, [threads]);
  SHARED(float, tile, [width][width + 1]);
  SHARED(float, square, [width][width]);
  SHARED(float, copied, [threads][4]);
  const int thread = int(threadIdx.x), lane = thread % 32, first = int(blockIdx.x) * threads;
  const bool is = mistake == Mistake::shifted;
  float sum = mistake == Mistake::strided ? in[lane * width + thread / 32] : in[first + thread + (is ? 1 : 0)];
  for (int round = 0; round < 2; ++round) {
    swapped[thread] = sum;
    if (mistake != Mistake::no_warp_barrier) __syncwarp();
    sum += swapped[thread ^ 1];
    if (mistake != Mistake::no_barrier) __syncthreads();
    sum += swapped[thread ^ 32];
    if (mistake != Mistake::no_reuse_barrier) __syncthreads();
  }
  if (thread < width)
    for (int row = 0; row < width; ++row) tile[row][lane] = square[row][lane] = sum;
  copy_async(copied[thread], in + 4 * thread, true);
  commit_copies();
  if (mistake == Mistake::no_wait) sum += copied[thread][0];
  wait_for_copies();
  if (mistake != Mistake::no_barrier_behind) __syncthreads();
  sum += copied[(thread ^ 32) / 4][thread % 4];  // which another thread has copied
  __syncthreads();
  for (int column = 0; column < 2; ++column)
    sum += mistake == Mistake::conflict ? square[lane][column] : tile[lane][column];
  if (mistake == Mistake::beyond_tensor && thread == 0) sum += in[size];
  if (mistake == Mistake::beyond_shared && thread == 0) (&swapped[0])[threads] = sum;
  out[first + thread] = sum;
  if (mistake == Mistake::same_place) out[2 * threads + int(blockIdx.x)] = sum;
  if (mistake == Mistake::beside_atomic && thread > 0) add_atomically(out + 2 * threads, sum);
  if (mistake == Mistake::beside_atomic && thread == 0 && blockIdx.x == 0) out[2 * threads] = sum;
  if (mistake == Mistake::two_blocks && thread == 0) out[2 * threads] = sum;
}

template <Mistake mistake>
void run(const Tensor& in, const Tensor& out) {
  launch(2, threads, 0, planted_kernel<mistake>, at<float>(in), at<float>(out), in.numel());
}

}  // namespace

void run_planted(Mistake mistake) {
  const Tensor in({width * width}, DType::f32, Device::emu), out({3 * threads}, DType::f32, Device::emu);
  constexpr void (*runs[])(const Tensor&, const Tensor&) = {run<Mistake::none>,
                                                            run<Mistake::no_barrier>,
                                                            run<Mistake::no_reuse_barrier>,
                                                            run<Mistake::no_warp_barrier>,
                                                            run<Mistake::no_wait>,
                                                            run<Mistake::no_barrier_behind>,
                                                            run<Mistake::same_place>,
                                                            run<Mistake::two_blocks>,
                                                            run<Mistake::beside_atomic>,
                                                            run<Mistake::strided>,
                                                            run<Mistake::shifted>,
                                                            run<Mistake::conflict>,
                                                            run<Mistake::beyond_tensor>,
                                                            run<Mistake::beyond_shared>};
  runs[int(mistake)](in, out);
}

}  // namespace vlm2vec::trace
