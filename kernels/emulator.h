// Runs CUDA kernels on the CPU: slow on purpose, strict on purpose.
//
// Every CUDA thread of a block can be parked on a fiber of its own; a block's threads share one OS thread, so they
// never run at once: a thread runs until it meets a barrier, a warp collective or its end, and then the schedule picks
// another. Lanes of a warp are independent: code that relies on implicit lockstep breaks here. Noticed: a barrier or a
// collective that only some threads reach, or reach in two places (an error that names the lines); shared memory read
// before it is written (it starts as NaN); writes past a shared array; a missing barrier, under at least one of the
// schedules. Not shown: time, and memory ordering between blocks.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>

namespace vlm2vec::emulator {

using Site = std::source_location;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr uint64_t count() const { return uint64_t(x) * y * z; }
};

// Which of the ready threads runs: the lowest, the highest, any, or the one of the highest priority, where every warp
// and every lane in it drew one. The last lets some warps run far ahead of others, which a fair choice almost never
// does.
enum class Schedule { in_order, reversed, random, priority };
inline Schedule schedule = Schedule::in_order;
inline uint64_t seed = 1;
inline std::atomic<uint64_t> launches{0};  // since the program began

struct Coordinates {
  Dim3 thread_idx, block_idx, block_dim, grid_dim;
  unsigned index = 0;  // of the thread in its block
  int lane() const { return int(index % 32); }
};
extern constinit thread_local Coordinates* self;  // the running CUDA thread

// Runs `body` once per thread of the grid, block after block.
void run(Dim3 grid, Dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body);

void block_barrier(Site site);
void warp_barrier(uint32_t mask, Site site);

// Deposits the value, waits for every lane of the mask, returns the value of lane `source`, or the lanes' votes.
uint64_t shuffle(uint32_t mask, uint64_t value, int source, const char* operation, Site site);
uint32_t ballot(uint32_t mask, bool vote, Site site);

template <class T>
T shuffle(uint32_t mask, T value, int source, const char* operation, Site site) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shuffle(mask, bits, source, operation, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The block's array for this key (the address of a static of the declaration); every byte starts as 0xFF, a NaN.
void* shared_array(const void* key, size_t bytes, size_t align, Site site);
void* dynamic_shared_array();

}  // namespace vlm2vec::emulator
