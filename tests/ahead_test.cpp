// Values that are made before they are needed, and their share of the pool's threads.
#include "tensor/ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "expect_error.h"
#include "no_threads.h"
#include "tensor/parallel.h"
#include "wait_until.h"

namespace vlm2vec {
namespace {

std::thread::id this_thread() { return std::this_thread::get_id(); }

TEST(Ahead, BeginsBeforeItIsTakenInAThreadOfItsOwn) {
  std::atomic<bool> made{false};
  Ahead<std::thread::id> ahead([&] { return made = true, this_thread(); });
  EXPECT_TRUE(wait_until([&] { return made.load(); }));
  EXPECT_TRUE(wait_until([&] { return ahead.ready(); }));
  EXPECT_TRUE(ahead);
  EXPECT_NE(ahead.take(), this_thread());
  EXPECT_FALSE(ahead);
  EXPECT_FALSE(ahead.ready());
  EXPECT_FALSE(Ahead<int>());
}

TEST(Ahead, TakeWaits) {
  std::atomic<bool> released{false};
  Ahead<std::unique_ptr<int>> ahead([&] {
    EXPECT_TRUE(wait_until([&] { return released.load(); }));
    return std::make_unique<int>(7);
  });
  EXPECT_FALSE(ahead.ready());
  std::thread later([&] { released = true; });
  EXPECT_EQ(*ahead.take(), 7);
  later.join();
}

TEST(Ahead, ThrowsWhereItIsTaken) {
  for (const bool thread : {true, false}) {
    const auto make = []() -> int { fail(Exit::data, "row 4: no picture"); };
    Ahead<int> ahead = thread ? Ahead<int>(make) : Ahead<int>::made(make);
    EXPECT_TRUE(wait_until([&] { return ahead.ready(); }));
    expect_error(Exit::data, "row 4: no picture", [&] { ahead.take(); });
    EXPECT_FALSE(ahead);
    Ahead<int> never(make);  // an error that nobody takes
  }
}

TEST(Ahead, ItsEndWaitsForTheThread) {
  std::atomic<bool> done{false};
  {
    std::atomic<bool> begun{false};
    const Ahead<int> ahead([&] {
      begun = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      done = true;
      return 1;
    });
    EXPECT_TRUE(wait_until([&] { return begun.load(); }));
  }
  EXPECT_TRUE(done);
}

TEST(Ahead, IsMadeWhenTakenWhereTheSystemHasNoThread) {
  EXPECT_TRUE(without_threads([] {
    bool made = false;
    Ahead<std::thread::id> ahead([&] { return made = true, this_thread(); });
    const bool early = made;
    return !early && ahead.take() == this_thread();
  }));
}

TEST(Ahead, IsMadeHereAndNowInADryRun) {
  const DryRun dry;
  bool made = false;
  Ahead<std::thread::id> ahead([&] { return made = true, this_thread(); });
  EXPECT_TRUE(made);
  EXPECT_EQ(ahead.take(), this_thread());
}

class BackgroundLoops : public testing::Test {
 protected:
  void SetUp() override { set_threads(2); }
  void TearDown() override { set_threads(before_); }
  // Both ranges arrive only if two threads are at work.
  static bool takes_two_threads() {
    std::atomic<int> arrived{0};
    std::atomic<bool> both{true};
    parallel_for(2, 1, [&](int64_t, int64_t) {
      ++arrived;
      if (!wait_until([&] { return arrived == 2; })) both = false;
    });
    return both;
  }
  const int before_ = threads();
};

TEST_F(BackgroundLoops, UseThePoolWhileItIsIdle) {
  EXPECT_TRUE(Ahead<bool>([] { return takes_two_threads(); }).take());
}

TEST_F(BackgroundLoops, RunAloneWhileAllThreadsWork) {
  std::atomic<int> arrived{0};
  std::atomic<int64_t> sum{0};
  Ahead<bool> ahead([&] {
    EXPECT_TRUE(wait_until([&] { return arrived == 2; }));
    const auto own = this_thread();
    parallel_for(100, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(this_thread(), own);
      sum += end - begin;
    });
    return true;
  });
  parallel_for(2, 1, [&](int64_t, int64_t) {
    ++arrived;
    EXPECT_TRUE(wait_until([&] { return sum == 100; }));
  });
  EXPECT_TRUE(ahead.take());
}

// The pool's worker is in the background's loop when the caller's begins. It leaves after its piece.
TEST_F(BackgroundLoops, GiveTheirThreadsToOtherWork) {
  std::atomic<int> pieces{0}, arrived{0};
  Ahead<bool> ahead([&] {
    parallel_for(8, 1, [&](int64_t, int64_t) {
      const bool first = ++pieces <= 2;  // one by the thread itself, one by the worker
      EXPECT_TRUE(wait_until([&] { return arrived >= (first ? 1 : 2); }));
    });
    return true;
  });
  EXPECT_TRUE(wait_until([&] { return pieces == 2; }));
  parallel_for(2, 1, [&](int64_t, int64_t) {
    ++arrived;
    EXPECT_TRUE(wait_until([&] { return arrived == 2; }));
  });
  EXPECT_TRUE(ahead.take());
  EXPECT_EQ(pieces, 8);
}

}  // namespace
}  // namespace vlm2vec
