#include "tensor/parallel.h"

#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

namespace vlm2vec {
namespace {

class ParallelTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(before_); }
  const int before_ = threads();
};
INSTANTIATE_TEST_SUITE_P(Threads, ParallelTest, testing::Values(1, 2, 5));

TEST_P(ParallelTest, CoversTheRangeOnce) {
  EXPECT_EQ(threads(), GetParam());
  for (int64_t n : {0, 1, 2, 3, 7, 100, 1001})
    for (int64_t grain : {1, 3, 100}) {
      std::vector<std::atomic<int>> hits(n);
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        ASSERT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++hits[i];
      });
      for (const auto& hit : hits) ASSERT_EQ(hit, 1);
    }
}

TEST_P(ParallelTest, IsSerialUpToTheGrainAndWhenNested) {
  int calls = 0;
  const auto caller = std::this_thread::get_id();
  parallel_for(10, 10, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 10);
    EXPECT_EQ(std::this_thread::get_id(), caller);
  });
  EXPECT_EQ(calls, 1);
  std::atomic<int> inner{0};
  parallel_for(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto self = std::this_thread::get_id();
      parallel_for(100, 1, [&](int64_t first, int64_t last) {
        inner += int(last - first);
        EXPECT_EQ(std::this_thread::get_id(), self);
        EXPECT_EQ(last - first, 100);
      });
    }
  });
  EXPECT_EQ(inner, 800);
}

// Each waits for the other, so both must be at work; the second time after the workers have gone to sleep.
TEST(Parallel, ThreadsWorkAtTheSameTime) {
  const int before = threads();
  set_threads(2);
  for (int pause_ms : {0, 20}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    std::atomic<int> arrived{0};
    parallel_for(2, 1, [&](int64_t, int64_t) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 2);
  }
  set_threads(before);
}

TEST_P(ParallelTest, ExceptionsReachTheCaller) {
  for (int64_t bad : {0, 37, 99}) {
    EXPECT_THROW(parallel_for(100, 1,
                              [&](int64_t begin, int64_t end) {
                                if (begin <= bad && bad < end) throw std::runtime_error("37");
                              }),
                 std::runtime_error);
    std::atomic<int64_t> sum{0};  // and the pool is still good
    parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
}

TEST_P(ParallelTest, DenormalsAreZeroForEveryoneInsideOnly) {
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(mode & ~0x8040u);
  volatile float tiny = std::numeric_limits<float>::min();
  std::atomic<int> denormals{0};
  parallel_for(64, 1, [&](int64_t, int64_t) { denormals += tiny * 0.5f != 0; });
  EXPECT_EQ(denormals, 0);
  EXPECT_NE(tiny * 0.5f, 0);
  flush_denormals();
  EXPECT_EQ(tiny * 0.5f, 0);
  _mm_setcsr(mode);
}

TEST_P(ParallelTest, TwoCallersAtOnce) {
  std::atomic<int64_t> sum{0};
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) parallel_for(50, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(sum, 2 * 2000 * 50);
}

}  // namespace
}  // namespace vlm2vec
