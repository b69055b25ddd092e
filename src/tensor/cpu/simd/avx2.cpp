// The inner loops for AVX2 with FMA: eight floats.
#define SIMD_ISA avx2
#define SIMD_LANES 8
#include "tensor/cpu/simd/all.inl.h"
