// The inner loops for AVX-512 (F, BW, VL, DQ): sixteen floats.
#define SIMD_ISA avx512
#define SIMD_LANES 16
#include "tensor/cpu/simd/all.inl.h"
