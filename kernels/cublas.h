// Products by NVIDIA's cublasLt, which is opened at first use: the program needs no cuBLAS to build or to start.
#pragma once
#include "kernels/kernels.h"

namespace vlm2vec::cublas {

// c = op(a)·op(b) + bias as in kernels.h, by cublasLt; true if it was computed: f64, empty sums and what the library
// knows no algorithm for are matmul.cu's. One algorithm belongs to each shape, so that the same shapes give the same
// bits; a row's bits depend on the number of rows. Throws Exit::device if the library is missing or fails.
bool matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions options, const Tensor& c);

}  // namespace vlm2vec::cublas
