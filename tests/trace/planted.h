// Kernels with one mistake each, which the tracer must notice: tests/trace/trace_test.cpp.
#pragma once

namespace vlm2vec::trace {

enum class Mistake {
  none,
  no_barrier,         // between writes and reads of other warps
  no_reuse_barrier,   // before a shared array is written anew
  no_warp_barrier,    // between lanes
  no_wait,            // for an asynchronous copy
  no_barrier_behind,  // the wait: other threads' copies
  same_place,         // two threads write one number of global memory
  two_blocks,         // and so do two blocks
  beside_atomic,      // one thread writes what others add to by atomics
  strided,            // neighbours read numbers that are 32 apart
  shifted,            // a warp's first address is no multiple of 32
  conflict,           // a column of a tile whose rows are as long as the banks
  beyond_tensor,
  beyond_shared,
};

// Runs it for two blocks of 64 threads.
void run_planted(Mistake mistake);

}  // namespace vlm2vec::trace
