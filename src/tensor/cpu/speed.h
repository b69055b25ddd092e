// What this processor can do at most, measured in the seconds in which it is asked.
#pragma once
#include <cstdint>
#include <string>

namespace vlm2vec {

std::string processor_name();  // as the system calls it

double cpu_seconds();  // of this thread: what neighbours take does not count

// GFLOP/s of one core that does nothing but fused multiply-adds on registers, with simd()'s instruction set, a multiply
// and an add counting two; 0 if that has none.
double fma_peak();

// GB/s (10⁹) at which all threads together read `bytes` of memory once through, the best of three times. For the memory
// itself, and not a cache, it takes hundreds of megabytes.
double read_bandwidth(int64_t bytes);

}  // namespace vlm2vec
