// Matrix products spread over the threads.
#pragma once
#include "tensor/cpu/simd/simd.h"

namespace vlm2vec::cpu {

void gemm(const GemmTask& g);  // C[m, n] (+)= op(A)·op(B) + bias; see GemmTask

}  // namespace vlm2vec::cpu
