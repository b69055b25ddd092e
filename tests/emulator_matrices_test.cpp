// The emulator's tensor cores and asynchronous copies. Where a fragment's numbers lie is taken from another source than
// the kernels' own comments: CuTe's layouts of SM80_16x8x16 and of ldmatrix.
#include <gtest/gtest.h>

#include "expect_error.h"
#include "kernels/tensor_core.h"
#include "kernels_testing.h"

namespace vlm2vec {
namespace {

using namespace emu;
using namespace testing_kernels;

// One warp multiplies A [16, 16] by B [16, 8]; all three lie column by column, with CuTe's strides of thread and value.
// It counts registers that ldmatrix fills otherwise, from A by rows and, transposed, by columns.
__global__ void fragments_kernel(const bf16* a, const bf16* b, float* c, float* differing) {
  SHARED(bf16, by_row, [16 * 16]);
  SHARED(bf16, by_column, [16 * 16]);
  const int lane = int(threadIdx.x), t0 = lane % 4, t1 = lane / 4;
  const auto both = [](bf16 low, bf16 high) { return uint32_t(low.bits) | uint32_t(high.bits) << 16; };
  uint32_t fa[4], fb[2];
  for (int v1 = 0; v1 < 2; ++v1)
    for (int v2 = 0; v2 < 2; ++v2) {
      const int at = 32 * t0 + t1 + 8 * v1 + 128 * v2;
      fa[v1 + 2 * v2] = both(a[at], a[at + 16]);
    }
  for (int v1 = 0; v1 < 2; ++v1) {
    const int k = 2 * t0 + 8 * v1;
    fb[v1] = both(b[16 * t1 + k], b[16 * t1 + k + 1]);
  }
  float sums[4] = {};
  emu::multiply(sums, fa, fb[0], fb[1]);
  for (int v1 = 0; v1 < 2; ++v1)
    for (int v0 = 0; v0 < 2; ++v0) c[32 * t0 + t1 + 16 * v0 + 8 * v1] = sums[v0 + 2 * v1];

  for (int i = lane; i < 256; i += 32) by_column[i] = a[i], by_row[i % 16 * 16 + i / 16] = a[i];
  __syncwarp();
  uint32_t plain[4], transposed[4];
  emu::load_matrices<false>(plain, by_row + lane % 16 * 16 + lane / 16 * 8);
  emu::load_matrices<true>(transposed, by_column + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
  float count = 0;
  for (int i = 0; i < 4; ++i) count += float(plain[i] != fa[i]) + float(transposed[i] != fa[i]);
  differing[lane] = count;
}

TEST(EmulatorMatrices, FragmentsLieAsCuTeSays) {
  const Tensor a = random({16, 16}, DType::bf16, 1), b = random({8, 16}, DType::bf16, 2),
               c = unwritten({8, 16}, DType::f32), differing = unwritten({32}, DType::f32);
  in_every_schedule([&] {
    const uint64_t before = emulator::matrix_products;
    launch(1, 32, 0, fragments_kernel, at<bf16>(a), at<bf16>(b), at<float>(c), at<float>(differing));
    EXPECT_EQ(emulator::matrix_products - before, 1u);
    Numbers want;
    for (size_t n = 0; n < 8; ++n)
      for (size_t m = 0; m < 16; ++m) {
        double sum = 0;
        for (size_t k = 0; k < 16; ++k) sum += numbers(a)[16 * k + m] * numbers(b)[16 * n + k];
        want.push_back(sum);
      }
    expect_close(c, want, "c");
    EXPECT_EQ(numbers(differing), Numbers(32));
  });
}

// Shows what a thread reads before its wait and behind it, also of a copy that is not valid.
__global__ void copies_kernel(const bf16* from, float* seen, bool commits) {
  SHARED(bf16, tile, [3][8]);
  copy_async(tile[0], from, true);
  copy_async(tile[1], from, false);
  if (commits) commit_copies();
  copy_async(tile[2], from, true);  // of no group
  seen[0] = tile[0][1];
  wait_for_copies();
  seen[1] = tile[0][1], seen[2] = tile[1][1], seen[3] = tile[2][1];
  commit_copies();
  wait_for_copies();
}
__global__ void unawaited_copy_kernel(const bf16* from) {
  SHARED(bf16, tile, [8]);
  copy_async(tile, from, true);
}
__global__ void odd_copy_kernel(const bf16* from) {
  SHARED(bf16, tile, [16]);
  copy_async(tile + 4, from, true);
}
__global__ void odd_load_kernel(const bf16* from) { load_16_bytes(from + 4); }
__global__ void odd_store_kernel(bf16* to) { store_16_bytes(to + 4, Wide<bf16>{}); }
__global__ void copy_to_global_kernel(bf16* from) { copy_async(from, from, true); }

TEST(EmulatorMatrices, CopiesArriveAtTheWaitForTheirGroup) {
  const Tensor from = tensor({8}, DType::bf16, {1, 2, 3, 4, 5, 6, 7, 8}), seen = unwritten({4}, DType::f32);
  launch(1, 1, 0, copies_kernel, at<bf16>(from), at<float>(seen), true);
  EXPECT_TRUE(std::isnan(numbers(seen)[0]));
  EXPECT_EQ(numbers(seen)[1], 2);
  EXPECT_EQ(numbers(seen)[2], 0);
  EXPECT_TRUE(std::isnan(numbers(seen)[3]));
  launch(1, 1, 0, copies_kernel, at<bf16>(from), at<float>(seen), false);
  EXPECT_TRUE(std::isnan(numbers(seen)[1]));
}

TEST(EmulatorMatrices, AThreadWaitsForItsCopies) {
  const Tensor from = tensor({8}, DType::bf16, Numbers(8));
  expect_error("ends while a cp.async of it is under way",
               [&] { launch(1, 1, 0, unawaited_copy_kernel, at<bf16>(from)); });
}

TEST(EmulatorMatrices, AddressesAreChecked) {
  const Tensor from = tensor({8}, DType::bf16, Numbers(8));
  expect_error("has an address that is no multiple of 16", [&] { launch(1, 1, 0, odd_copy_kernel, at<bf16>(from)); });
  expect_error("an access of 16 bytes has an address", [&] { launch(1, 1, 0, odd_load_kernel, at<bf16>(from)); });
  expect_error("an access of 16 bytes has an address", [&] { launch(1, 1, 0, odd_store_kernel, at<bf16>(from)); });
  expect_error("does not write shared memory", [&] { launch(1, 1, 0, copy_to_global_kernel, at<bf16>(from)); });
}

}  // namespace
}  // namespace vlm2vec
