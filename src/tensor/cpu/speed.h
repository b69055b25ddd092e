// The peak speed of this processor, measured at the moment of the call.
#pragma once
#include <cstdint>
#include <string>

namespace vlm2vec {

std::string processor_name();

double cpu_seconds();  // CPU time of this thread: other processes do not count

// Returns the GFLOP/s of one core doing only fused multiply-adds on registers with simd()'s instruction set. One such
// instruction counts two operations per lane; 0 if the set has none.
double fma_peak();

// Returns the GFLOP/s of one core doing only products of bf16 on registers; 0 if simd() has no instructions for them.
double bf16_peak();

// Returns the GFLOP/s of all threads at the peak that `peak` measures on one. It goes by wall clock, so that shared
// resources and other programs count.
double of_all_threads(double (*peak)());

// Returns the GB/s (10⁹) at which all threads together read `bytes` of memory once, the best of three times. Memory
// rather than a cache is measured from hundreds of megabytes on.
double read_bandwidth(int64_t bytes);

}  // namespace vlm2vec
