// What the tracer says of kernels: of wrong ones the mistake, of the project's own no race, and what their accesses
// cost against a table of limits.
#include <gtest/gtest.h>

#include <cstdio>

#include "io/error.h"
#include "planted.h"
#include "runs.h"

namespace vlm2vec::trace {
namespace {

using emulator::Schedule;

Trace trace_of(Mistake mistake) {
  Tracer& tracer = Tracer::here();
  tracer.take();
  try {
    run_planted(mistake);
  } catch (const Error& error) {  // the emulator itself notices some of them
    if (mistake == Mistake::none) ADD_FAILURE() << error.what();
  }
  return tracer.take();
}

std::string races_of(const Trace& trace) {
  std::string text;
  for (const Clash& race : trace.races) text += sentence(race.what, ": ", race.first, ", ", race.second, "\n");
  return text;
}

class TracerSchedules : public testing::TestWithParam<Schedule> {
 protected:
  void SetUp() override { emulator::schedule = GetParam(); }
  void TearDown() override { emulator::schedule = Schedule::in_order; }
};
INSTANTIATE_TEST_SUITE_P(Schedules, TracerSchedules,
                         testing::Values(Schedule::in_order, Schedule::reversed, Schedule::random, Schedule::priority));

TEST_P(TracerSchedules, ACorrectKernelHasNoFault) {
  const Trace trace = trace_of(Mistake::none);
  EXPECT_EQ(races_of(trace), "");
  EXPECT_TRUE(trace.outside.empty());
  EXPECT_EQ(trace.conflicts(), 0u);
  EXPECT_EQ(trace.well_moved(1), 1);
  EXPECT_EQ(trace.total(Kind::global_write).bytes, 2u * 64 * 4);  // each number once
}

TEST_P(TracerSchedules, RacesAreNoticedInEveryOrder) {
  const std::pair<Mistake, const char*> mistakes[] = {{Mistake::no_barrier, "read"},
                                                      {Mistake::no_reuse_barrier, "read, then write"},
                                                      {Mistake::no_warp_barrier, "read"},
                                                      {Mistake::no_wait, "touched before the wait"},
                                                      {Mistake::no_barrier_behind, ""},
                                                      {Mistake::same_place, "write, then write"},
                                                      {Mistake::two_blocks, "write, then write"},
                                                      {Mistake::beside_atomic, "write, then write"}};
  for (const auto& [mistake, what] : mistakes) {
    const std::string races = races_of(trace_of(mistake));
    EXPECT_NE(races, "") << int(mistake);
    EXPECT_NE(races.find(what), std::string::npos) << int(mistake) << ": " << races;
    EXPECT_NE(races.find("planted.cu:"), std::string::npos) << races;
  }
}

TEST(Tracer, AccessesThatCostTooMuchAreNoticed) {
  const Trace strided = trace_of(Mistake::strided);
  const Cost right = trace_of(Mistake::none).total(Kind::global_read), wrong = strided.total(Kind::global_read);
  EXPECT_EQ(wrong.bytes, right.bytes);
  EXPECT_EQ(wrong.units, right.units + 4 * (32 - 4));  // four warps, each with a sector for every lane
  EXPECT_LT(strided.well_moved(1.05), 0.99);
  EXPECT_LT(trace_of(Mistake::shifted).well_moved(1.05), 0.99);
  EXPECT_EQ(trace_of(Mistake::conflict).conflicts(), 4u * 2 * 31);  // 32 lanes in one bank
}

TEST(Tracer, AccessesBeyondTheEndAreNoticed) {
  for (const Mistake mistake : {Mistake::beyond_tensor, Mistake::beyond_shared}) {
    const Trace trace = trace_of(mistake);
    ASSERT_FALSE(trace.outside.empty()) << int(mistake);
    EXPECT_TRUE(trace.outside.begin()->first.starts_with("planted.cu:")) << trace.outside.begin()->first;
  }
}

struct Expected {
  const char* kernel;
  const char* shape;
  double well_moved;  // least share of the bytes that move in at most 1.05 times the fewest sectors
};
// With rows that are no multiple of 8, the statistics of later heads begin within a sector: 150, 300.
const Expected table[] = {
    {"attention", "", 0.99},
    {"attention", "head_dim=128,rows=150", 0.99},
    {"attention", "causal=0,rows=130", 0.99},
    {"attention", "rows=300,window=100", 0.99},
    {"attention", "head_dim=80,rows=150,sequences=2", 0.99},
    {"attention", "head_dim=96,rows=70", 0.99},
    {"attention", "head_dim=32,rows=70", 0.99},
    {"attention", "head_dim=256,rows=80", 0.99},
    {"attention_backward", "", 0.99},
    {"attention_backward", "head_dim=128,rows=152", 0.99},
    {"attention_backward", "head_dim=128,rows=150", 0.98},
    {"attention_backward", "heads=8,head_dim=32,rows=128", 0.99},
    {"attention_backward", "deterministic=0", 0.99},
    {"attention_backward", "head_dim=144,rows=72,deterministic=0", 0.99},
    {"attention_backward", "rows=300,window=100", 0.97},
    {"attention_backward", "head_dim=80,rows=152", 0.99},
    {"attention_backward", "head_dim=96,rows=80", 0.99},
    {"attention_backward", "head_dim=192,rows=80", 0.99},
    {"attention_backward", "head_dim=256,rows=80", 0.99},
    {"rms_norm", "", 0.99},
    {"rms_norm", "columns=896,bf16=0", 0.99},
    {"rms_norm_dx", "", 0.99},
    {"rms_norm_dx", "columns=896,bf16=0", 0.99},
    {"rms_norm_dx", "columns=8208,rows=2", 0.99},
    {"layer_norm", "", 0.99},
    {"layer_norm", "columns=80", 0.99},
    {"layer_norm", "columns=1280,bf16=0", 0.99},
    {"layer_norm_dx", "", 0.99},
    {"layer_norm_dx", "columns=896,bf16=0", 0.99},
    {"infonce", "", 0.99},
    {"infonce", "queries=33,targets=70,columns=64", 0.99},
    {"infonce_backward", "queries=32,targets=64", 0.99},
    {"matmul", "", 0.99},
    {"matmul", "transpose_a=1,transpose_b=0", 0.99},
    {"matmul", "bf16=1", 0.99},
    {"matmul", "bf16=1,transpose_b=0", 0.99},
    {"matmul", "bf16=1,transpose_a=1", 0.99},
};

TEST(Tracer, KernelsHoldTheirLimits) {
  std::printf("%-20s%-34s%6s%12s%12s%10s\n", "kernel", "shape", "races", "conflicts", "products", "moved");
  for (const Expected& e : table) {
    const Traceable& kernel = traceable(e.kernel);
    for (const Schedule schedule : {Schedule::priority, Schedule::in_order}) {
      emulator::schedule = schedule;
      const Trace trace = vlm2vec::trace::trace_of(kernel, kernel.shape.with(e.shape));
      EXPECT_EQ(races_of(trace), "") << e.kernel << ' ' << e.shape;
      EXPECT_TRUE(trace.outside.empty()) << e.kernel << ' ' << e.shape << ": " << trace.outside.begin()->first;
      EXPECT_GE(trace.well_moved(1.05), e.well_moved) << e.kernel << ' ' << e.shape;
      EXPECT_EQ(trace.conflicts(), 0u) << e.kernel << ' ' << e.shape;
      if (schedule == Schedule::in_order)
        std::printf("%-20s%-34s%6zu%12llu%12llu%8.1f %%\n", e.kernel, e.shape, trace.races.size(),
                    static_cast<unsigned long long>(trace.conflicts()),
                    static_cast<unsigned long long>(trace.all_products()), 100 * trace.well_moved(1.05));
    }
  }
}

TEST(Tracer, CountsWhatTheFormulasSay) {
  const Traceable& kernel = traceable("attention");
  const Trace trace = vlm2vec::trace::trace_of(kernel, kernel.shape.with("rows=128,causal=0"));
  // Two heads, 128 × 128 scores, q·k and p·v of 64 columns; a product is 16 × 8 × 16.
  EXPECT_EQ(trace.all_products(), 2u * 2 * 128 * 128 * 64 / (16 * 8 * 16));
  uint64_t copied = 0;
  for (const Line& line : trace.lines)
    if (line.where.starts_with("flash_attention.h:") && line.kind == Kind::global_read) copied += line.cost.bytes;
  EXPECT_EQ(copied, 2u * 2 * (64 + 2 * 128) * 64 * 2);  // two heads, two tiles of queries, all keys and values for each
  EXPECT_GE(trace.total(Kind::global_write).bytes, 2u * 128 * 64 * 2 + 2 * 128 * 4);  // o and lse
}

std::string error_of(const std::string& shape, const char* name = "rms_norm") {
  try {
    const Traceable& kernel = traceable(name);
    kernel.prepare(kernel.shape.with(shape));
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Tracer, WrongShapesAreErrors) {
  EXPECT_EQ(error_of("rows=3,columns=17"), "no error");
  EXPECT_NE(error_of("row=3").find("no size \"row\"; the sizes are rows=8,columns=1536,bf16=1"), std::string::npos);
  EXPECT_NE(error_of("rows=x").find("rows is \"x\", expected a number"), std::string::npos);
  EXPECT_NE(error_of("rows=").find("expected a number"), std::string::npos);
  EXPECT_NE(error_of("rows").find("expected a number"), std::string::npos);
  EXPECT_NE(error_of("rows=9999999").find("from 1 to 1048576"), std::string::npos);
  EXPECT_NE(error_of("rows=0").find("from 1 to"), std::string::npos);
  EXPECT_NE(error_of("heads=3,kv_heads=2", "attention").find("no multiple of kv_heads"), std::string::npos);
  EXPECT_NE(error_of("", "flash").find("no kernel \"flash\"; there are attention,"), std::string::npos);
}

}  // namespace
}  // namespace vlm2vec::trace
