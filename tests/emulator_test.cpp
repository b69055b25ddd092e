// The emulator: what correct kernels compute under every schedule, and that wrong ones are noticed.
#include "kernels/emulator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/block.h"
#include "kernels/gpu.h"

namespace vlm2vec {
namespace {

using namespace emu;
using emulator::Schedule;
constexpr Schedule schedules[] = {Schedule::in_order, Schedule::reversed, Schedule::random, Schedule::priority};

class Emulator : public testing::TestWithParam<Schedule> {
 protected:
  void SetUp() override { emulator::schedule = GetParam(); }
  void TearDown() override { emulator::schedule = Schedule::in_order, emulator::seed = 1; }
};
INSTANTIATE_TEST_SUITE_P(Schedules, Emulator, testing::ValuesIn(schedules), [](const auto& info) {
  return std::string(std::vector<const char*>{"in_order", "reversed", "random", "priority"}[size_t(info.param)]);
});

std::string error_of(auto run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
std::string here(int line) { return "emulator_test.cpp:" + std::to_string(line); }

// out[block] = the block's sum, by every way of exchange there is. `bug` takes one piece out.
enum Bug {
  none,
  no_barrier,
  no_reuse_barrier,
  no_warp_barrier,
  early_return,
  two_barriers,
  shuffle_in_branch,
  unwritten,
  overrun
};
constexpr int threads = 128, rounds = 5;
int barrier_line, branch_line, shuffle_line;

template <Bug bug>
__global__ void sum_kernel(const float* in, float* out) {
  SHARED(float, swapped, [threads]);
  SHARED(float, of_warp, [4]);
  const int tid = int(threadIdx.x);
  if (bug == early_return && tid >= 100) return;
  for (int round = 0; round < rounds; ++round) {
    swapped[tid] = in[(int(blockIdx.x) * rounds + round) * threads + tid];
    if (bug != no_warp_barrier) __syncwarp();
    float x = swapped[tid ^ 1];
    __syncwarp();
    shuffle_line = __LINE__ + 1;
    if (bug == shuffle_in_branch && tid % 32 < 16) x += __shfl_xor_sync(~0u, x, 1);
    for (int by = 16; by > 0; by /= 2) x += __shfl_down_sync(~0u, x, by);
    if (tid % 32 == 0 && !(bug == unwritten && tid == 96)) of_warp[tid / 32] = x;
    if (bug == overrun && tid == 5) (&of_warp[0])[4] = x;
    branch_line = __LINE__ + 1;
    if (bug == two_barriers && tid < 64) __syncthreads();
    else if (bug != no_barrier) __syncthreads();
    barrier_line = __LINE__ - 1;
    if (tid == threads - 1) out[int(blockIdx.x) * rounds + round] = of_warp[0] + of_warp[1] + of_warp[2] + of_warp[3];
    if (bug != no_reuse_barrier) __syncthreads();
  }
}

template <Bug bug>
bool right() {
  const int n_blocks = 3;
  std::vector<float> in(n_blocks * rounds * threads), out(n_blocks * rounds, -1.f);
  for (size_t i = 0; i < in.size(); ++i) in[i] = float(i % 97) - 48;
  launch(n_blocks, threads, 0, sum_kernel<bug>, in.data(), out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    float sum = 0;
    for (int t = 0; t < threads; ++t) sum += in[i * threads + size_t(t)];
    if (!(out[i] == sum)) return false;  // whole numbers: exact in any order
  }
  return true;
}

TEST_P(Emulator, CorrectKernelIsRight) {
  for (emulator::seed = 1; emulator::seed <= 10; ++emulator::seed) EXPECT_TRUE(right<none>());
}

TEST_P(Emulator, DivergenceIsAnErrorThatNamesTheLine) {
  EXPECT_TRUE(right<none>());  // and notes the lines
  const std::string early = error_of(right<early_return>);
  EXPECT_TRUE(contains(early, here(barrier_line)) || contains(early, "warp collective")) << early;
  EXPECT_TRUE(contains(early, "28 have returned")) << early;
  const std::string branches = error_of(right<two_barriers>);
  EXPECT_TRUE(contains(branches, here(branch_line)) && contains(branches, here(barrier_line))) << branches;
  const std::string shuffle = error_of(right<shuffle_in_branch>);
  EXPECT_TRUE(contains(shuffle, here(shuffle_line)) && contains(shuffle, "same path")) << shuffle;
  EXPECT_TRUE(right<none>());  // the machine has recovered
}

TEST_P(Emulator, UnwrittenSharedMemoryIsNaN) { EXPECT_FALSE(right<unwritten>()); }

#if !defined(__SANITIZE_ADDRESS__)  // which would end the test program, with the line
TEST_P(Emulator, WritePastASharedArrayIsNoticed) {
  const std::string text = error_of(right<overrun>);
  EXPECT_TRUE(contains(text, "0 bytes past the end of the shared array declared at emulator_test.cpp:")) << text;
  EXPECT_TRUE(contains(text, "which is 16 bytes long")) << text;
}
#endif

TEST(EmulatorSchedules, MissingBarriersAreNoticedUnderSome) {
  auto noticed = [](auto wrong) {
    int count = 0;
    for (Schedule s : schedules) {
      emulator::schedule = s;
      for (emulator::seed = 1; emulator::seed <= 5; ++emulator::seed) count += !wrong();
    }
    emulator::schedule = Schedule::in_order, emulator::seed = 1;
    return count;
  };
  EXPECT_EQ(noticed(right<none>), 0);
  EXPECT_GT(noticed(right<no_barrier>), 5);
  EXPECT_GT(noticed(right<no_reuse_barrier>), 0);
  EXPECT_GT(noticed(right<no_warp_barrier>), 5);
}

__global__ void throwing_kernel() {
  if (threadIdx.x == 3) fail(Exit::data, "row ", blockIdx.x, " is wrong");
  __syncthreads();
}

TEST_P(Emulator, ErrorsOfKernelsReachTheLauncher) {
  EXPECT_EQ(error_of([] { launch(1, 32, 0, throwing_kernel); }), "row 0 is wrong");
  EXPECT_TRUE(right<none>());
}

__global__ void coordinates_kernel(int* out) {
  const int block = int((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
  const int thread = int((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
  out[block * 12 + thread] += 1 + thread;
}

TEST_P(Emulator, EveryThreadOfTheGridRunsOnce) {
  std::vector<int> out(2 * 3 * 4 * 12);
  const uint64_t before = emulator::launches;
  launch(dim3(2, 3, 4), dim3(3, 2, 2), 0, coordinates_kernel, out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], int(1 + i % 12));
  EXPECT_EQ(emulator::launches, before + 1);
  launch(dim3(0, 3), 32, 0, coordinates_kernel, nullptr);  // no blocks: no work
  EXPECT_EQ(emulator::launches, before + 1);
}

__global__ void collectives_kernel(double* sum, double* again, int* broadcast, uint32_t* votes, double* dynamic) {
  double* buffer = dynamic_shared<double>();
  const int tid = int(threadIdx.x);
  buffer[tid] = tid;
  __syncthreads();
  dynamic[tid] = buffer[blockDim.x - 1 - threadIdx.x];
  sum[tid] = block_sum(double(tid));
  again[tid] = block_sum(1.0) + block_sum(double(tid));  // one after the other: the array is reused
  broadcast[tid] = __shfl_sync(~0u, tid, 7);
  votes[tid] = __ballot_sync(~0u, tid % 3 == 0);
}

TEST_P(Emulator, Collectives) {
  const size_t n = 96;
  std::vector<double> sum(n), again(n), dynamic(n);
  std::vector<int> broadcast(n);
  std::vector<uint32_t> votes(n);
  launch(1, unsigned(n), n * sizeof(double), collectives_kernel, sum.data(), again.data(), broadcast.data(), votes.data(),
         dynamic.data());
  for (size_t i = 0; i < n; ++i) {
    EXPECT_EQ(sum[i], 95 * 96 / 2);
    EXPECT_EQ(again[i], 96 + 95 * 96 / 2);
    EXPECT_EQ(broadcast[i], int(i / 32 * 32 + 7));
    EXPECT_EQ(dynamic[i], double(n - 1 - i));
    for (size_t lane = 0; lane < 32; ++lane) EXPECT_EQ(votes[i] >> lane & 1, (i / 32 * 32 + lane) % 3 == 0);
  }
}

__global__ void partial_warp_kernel(int* out) {
  const int tid = int(threadIdx.x);
  if (tid < 4) out[tid] = __shfl_xor_sync(0xFu, tid, 1);
  else out[tid] = __shfl_sync(~0xFu, tid, 0);  // lane 0 is not in the mask
}

TEST_P(Emulator, LanesOutsideTheMaskCannotBeRead) {
  std::vector<int> out(8);
  const std::string text = error_of([&] { launch(1, 8, 0, partial_warp_kernel, out.data()); });
  EXPECT_TRUE(contains(text, "reads lane 0, which is not in the mask")) << text;
}

__global__ void last_block_throws_kernel(int* out) {
  out[blockIdx.x] = int(blockIdx.x) + 1;
  if (blockIdx.x + 1 == gridDim.x) fail(Exit::data, "block ", blockIdx.x, " is wrong");
}

TEST_P(Emulator, OsThreadsShareTheBlocks) {
  for (int os_threads : {2, 3, 5, 1}) {
    emulator::use_os_threads(os_threads);
    for (emulator::seed = 1; emulator::seed <= 3; ++emulator::seed) EXPECT_TRUE(right<none>());
    std::vector<int> out(7);
    EXPECT_EQ(error_of([&] { launch(7, 1, 0, last_block_throws_kernel, out.data()); }), "block 6 is wrong");
    EXPECT_TRUE(right<none>());
    std::vector<int> all(2 * 3 * 4 * 12);
    launch(dim3(2, 3, 4), dim3(3, 2, 2), 0, coordinates_kernel, all.data());
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], int(1 + i % 12));
  }
}

__global__ void add_atomically_kernel(float* sums) { emulator::add_atomically(sums + threadIdx.x % 2, 1, {}); }

TEST_P(Emulator, AtomicAdditionsOfAllBlocksCount) {
  for (int os_threads : {4, 1}) {
    emulator::use_os_threads(os_threads);
    std::vector<float> sums(2);
    launch(500, 32, 0, add_atomically_kernel, sums.data());
    EXPECT_EQ(sums, std::vector<float>(2, 500 * 16));
  }
}

TEST(EmulatorLimits, AreThoseOfAGpu) {
  auto run = [](dim3 grid, dim3 block, size_t bytes) {
    return error_of([&] { launch(grid, block, bytes, coordinates_kernel, nullptr); });
  };
  EXPECT_TRUE(contains(run(1, 1025, 0), "1 to 1024"));
  EXPECT_TRUE(contains(run(1, 0, 0), "1 to 1024"));
  EXPECT_TRUE(contains(run(dim3(1, 65536), 32, 0), "65535 at most"));
  EXPECT_TRUE(contains(run(1, 32, 228 << 10), "of shared memory"));
}

}  // namespace
}  // namespace vlm2vec
