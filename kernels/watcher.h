// Who may watch the emulator at work: tests/trace counts accesses and looks for races. The program itself has nobody.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/emulator.h"

namespace vlm2vec::emulator {

struct Watcher {
  virtual ~Watcher() = default;
  virtual void begin_block(const void* shared, size_t bytes, Dim3 size) = 0;  // where its shared arrays will lie
  virtual void make_shared(const void* array, size_t bytes, Site site) = 0;

  virtual void pass_block_barrier() = 0;               // all threads of the block have come to it
  virtual void pass_collective(uint32_t lanes) = 0;    // these lanes of the running thread's warp have come to one,
  virtual void pass_warp_barrier(uint32_t lanes) = 0;  // and this one is a barrier

  // What the running thread does. The first: the emulator reads or writes in its place.
  virtual void access(const void* memory, size_t bytes, bool write, Site site) = 0;
  virtual void add_atomically(const void* global, size_t bytes, Site site) = 0;
  virtual void begin_copy(const void* shared, const void* global, unsigned bytes, bool valid, Site site) = 0;
  virtual void end_copy(const void* shared, unsigned bytes) = 0;
  virtual void multiply(Site site) = 0;  // a product of tensor cores, told by each lane

  virtual void use_memory(const void* global, size_t bytes, bool in_use) = 0;  // a tensor begins or ends
};
inline Watcher* watcher = nullptr;  // with one, a single OS thread runs all blocks

}  // namespace vlm2vec::emulator
