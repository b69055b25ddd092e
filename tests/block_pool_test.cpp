// The pool of large blocks: they do not overlap, freed pages serve other sizes, and no more is held than was in use.
#include "tensor/block_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <vector>

#include "tensor/random.h"
#include "tensor/storage.h"
#include "tensor/tensor.h"

namespace vlm2vec {
namespace {

constexpr int64_t kMega = 1 << 20;

int64_t page_faults() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST(BlockPool, serves_other_sizes_from_what_was_freed) {
  BlockPool pool;
  char* const whole = pool.take(12 * kMega);
  EXPECT_EQ(pool.held(), 12 * kMega);
  pool.give(whole, 12 * kMega);
  EXPECT_EQ(pool.held(), 12 * kMega) << "kept for the next";
  char *const a = pool.take(5 * kMega - 100), *const b = pool.take(4 * kMega), *const c = pool.take(3 * kMega);
  EXPECT_EQ(pool.held(), 12 * kMega);
  EXPECT_EQ(std::min({a, b, c}), whole);
  pool.give(a, 5 * kMega - 100), pool.give(c, 3 * kMega), pool.give(b, 4 * kMega);
  char* const again = pool.take(12 * kMega);
  EXPECT_EQ(again, whole) << "neighbours are joined";
  EXPECT_EQ(pool.held(), 12 * kMega);
  pool.give(again, 12 * kMega);
}

// Batches of changing length: 200 steps that take forty blocks and free them in another order.
TEST(BlockPool, holds_little_more_than_was_in_use_at_one_time) {
  BlockPool pool;
  Random random(1);
  int64_t live = 0, most = 0;
  for (int step = 0; step < 200; ++step) {
    const int64_t rows = 300 + int64_t(random.below(400));
    std::vector<std::pair<char*, int64_t>> blocks;
    for (int i = 0; i < 40; ++i) {
      const int64_t size = rows * int64_t(128 << random.below(5));
      blocks.emplace_back(pool.take(size), size);
      ASSERT_NE(blocks.back().first, nullptr);
      live += (size + BlockPool::kPage - 1) / BlockPool::kPage * BlockPool::kPage, most = std::max(most, live);
      std::memset(blocks.back().first, i, size_t(size));
    }
    for (int i = 0; i < 40; ++i)
      for (const int64_t at : {int64_t(0), blocks[size_t(i)].second - 1})
        ASSERT_EQ(blocks[size_t(i)].first[at], i) << "another block has written here";
    random.shuffle(blocks);
    for (const auto& [block, size] : blocks)
      pool.give(block, size), live -= (size + BlockPool::kPage - 1) / BlockPool::kPage * BlockPool::kPage;
    ASSERT_LE(pool.held(), most + most / 64 + 4 * kMega) << "step " << step;
  }
}

TEST(BlockPool, gives_pages_back_to_the_system) {
  BlockPool pool;
  std::vector<char*> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(pool.take(kMega));
  for (size_t i = 0; i < 64; i += 2) std::memset(blocks[i], 1, size_t(kMega)), pool.give(blocks[i], kMega);
  EXPECT_EQ(pool.held(), 64 * kMega) << "holes of one megabyte";
  char* const large = pool.take(32 * kMega);  // fits none of them
  EXPECT_LE(pool.held(), 64 * kMega + kMega + 4 * kMega);
  for (size_t i = 1; i < 64; i += 2) EXPECT_EQ(blocks[i][kMega - 1], 0) << "still there";
  pool.give(large, 32 * kMega);
  for (size_t i = 1; i < 64; i += 2) pool.give(blocks[i], kMega);
}

// A step like the one before asks the system for nothing.
TEST(BlockPool, repeats_a_step_without_page_faults) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "with sanitizers tensors are malloc's";
#endif
  const auto step = [] {
    std::vector<Tensor> kept;
    for (int64_t layer = 0; layer < 8; ++layer)
      for (const int64_t columns : {100, 300, 700}) {
        const Tensor passing = zeros({1000, 2 * columns}, DType::f32, Device::cpu);
        kept.push_back(zeros({1000, columns}, DType::f32, Device::cpu));
      }
    while (!kept.empty()) {
      const Tensor gradient = zeros(kept.back().shape(), DType::f32, Device::cpu);
      kept.pop_back();
    }
  };
  step(), step();
  const int64_t before = page_faults();
  step();
  EXPECT_LT(page_faults() - before, 200);
}

TEST(Memory, counts_what_is_held) {
  const MemoryStatistics before = memory_statistics();
  {
    const Tensor small = zeros({100}, DType::f32, Device::cpu), large = zeros({1 << 20}, DType::f32, Device::cpu);
    const MemoryStatistics now = memory_statistics();
    EXPECT_EQ(now.live_bytes - before.live_bytes, 400 + (4 << 20));
    EXPECT_GE(now.held_bytes, now.live_bytes);
    EXPECT_GE(now.peak_held_bytes, now.held_bytes);
    const DryRun dry;
    const Tensor nothing({1 << 30}, DType::f32, Device::cpu);
    EXPECT_EQ(memory_statistics().held_bytes, now.held_bytes) << "address space alone";
  }
  reset_peak_bytes();
  const MemoryStatistics after = memory_statistics();
  EXPECT_EQ(after.live_bytes, before.live_bytes);
  EXPECT_EQ(after.peak_held_bytes, after.held_bytes);
}

}  // namespace
}  // namespace vlm2vec
