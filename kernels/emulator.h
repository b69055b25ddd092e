// Runs CUDA kernels on the CPU: strict, and therefore slow.
//
// Every CUDA thread of a block has its own fiber; all of them share an OS thread. A thread runs until a barrier, a warp
// collective or its end, then the schedule picks the next. Lanes of a warp are independent: code that relies on
// implicit lockstep breaks here. The emulator finds barriers and collectives that only some threads reach, or that
// threads reach in two places (the error names the lines). It finds shared memory read before it is written (it starts
// as NaN), writes past a shared array and, under at least one schedule, missing barriers and missing waits for
// asynchronous copies. It does not model time or memory ordering between blocks. Its tensor cores add in f32, in order;
// those of a GPU add in another order and round otherwise.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>

namespace vlm2vec::emulator {

using Site = std::source_location;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  constexpr uint64_t count() const { return uint64_t(x) * y * z; }
};

// Which ready thread runs next: the lowest, the highest, a random one, or the one of highest priority. Every warp and
// lane draws a random priority; some warps then run far ahead of others, which a fair choice almost never does.
enum class Schedule { in_order, reversed, random, priority };
inline Schedule schedule = Schedule::in_order;
inline uint64_t seed = 1;
inline std::atomic<uint64_t> launches{0};  // since the program began

struct Coordinates {
  Dim3 thread_idx, block_idx, block_dim, grid_dim;
  unsigned index = 0;  // number of the thread in its block
  int lane() const { return int(index % 32); }
};
extern constinit thread_local Coordinates* self;  // the running CUDA thread

// Runs `body` once per thread of the grid, block after block.
void run(Dim3 grid, Dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body);

void block_barrier(Site site);
void warp_barrier(uint32_t mask, Site site);

// Shares the value, waits for every lane of the mask, and returns the value of lane `source`, or the lanes' votes.
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

// What a lane brings to a meeting of its warp.
struct alignas(16) Slot {
  unsigned char bytes[48];
  template <class T>
  T& as() {
    static_assert(sizeof(T) <= sizeof bytes);
    return *reinterpret_cast<T*>(bytes);
  }
};
// Waits for all lanes of the warp and returns their slots, which the last one to come changes by `combine`.
Slot* meet_warp(const Slot& mine, const char* operation, Site site, void (*combine)(Slot* lanes) = nullptr);
[[noreturn]] void stop(const std::string& complaint, Site site);  // ends the launch with an error

// An asynchronous copy of 16 or 4 bytes to shared memory (PTX cp.async), of zeros if not `valid`. It may arrive at any
// moment up to the wait, so its place is NaN from now on and is filled at the wait. A commit ends a thread's group of
// copies; the wait is for all groups but the last `groups_left`. A thread must not end before its copies have arrived.
void copy_async(void* shared, const void* global, unsigned bytes, bool valid, Site site);
void commit_copies();
void wait_for_copies(unsigned groups_left);
inline std::atomic<uint64_t> copied_bytes{0};  // that such copies have read, since the program began

// An access of 4, 8 or 16 bytes at once, whose address must be a multiple of that.
void read_at_once(void* registers, const void* memory, unsigned bytes, Site site);
void write_at_once(void* memory, const void* registers, unsigned bytes, Site site);
inline std::atomic<uint64_t> wide_accesses{0};  // of 16 bytes, since the program began

// atomicAdd; other OS threads may add to the same number.
void add_atomically(float* memory, float x, Site site);

// ldmatrix.x4 and mma.m16n8k16 of a whole warp, with registers laid out as the PTX manual says (tensor_core.h).
void load_matrices(uint32_t (&to)[4], const void* row, bool transposed, Site site);
void multiply_matrices(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site);
inline std::atomic<uint64_t> matrix_products{0};  // of warps, since the program began

// Returns the block's array for this key (a static's address in SHARED); every byte starts as 0xFF, a NaN.
void* shared_array(const void* key, size_t bytes, size_t align, Site site);
void* dynamic_shared_array();

}  // namespace vlm2vec::emulator
