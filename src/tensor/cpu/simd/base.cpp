// The inner loops for every x86-64 machine: SSE2, four floats, no fused multiply-add.
#define SIMD_ISA base
#define SIMD_LANES 4
#include "tensor/cpu/simd/all.inl.h"
