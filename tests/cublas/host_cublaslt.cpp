// cublasLt's functions on host memory, for the test of how products are described to it: column-major matrices with a
// leading dimension, transposes, a bias per row of the result, beta.
#include <cublasLt.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "host_cublaslt.h"

namespace {

int asked = 0;
bool refuses = false;

struct Matrix {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t pitch;
  float at(const void* data, uint64_t row, uint64_t column) const {
    const size_t i = size_t(column) * size_t(pitch) + size_t(row);
    if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
    return std::bit_cast<float>(uint32_t(static_cast<const uint16_t*>(data)[i]) << 16);
  }
  void set(void* data, uint64_t row, uint64_t column, float x) const {
    const size_t i = size_t(column) * size_t(pitch) + size_t(row);
    if (type == CUDA_R_32F) {
      static_cast<float*>(data)[i] = x;
      return;
    }
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    static_cast<uint16_t*>(data)[i] = uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
};
struct Product {
  cublasComputeType_t compute;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Wishes {
  uint64_t workspace = 0;
  uint32_t sums = 0;
  uint32_t alignment[4] = {256, 256, 256, 256};
};

template <class To, class From>
To* as(From* handle) {
  return reinterpret_cast<To*>(handle);
}
template <class T>
cublasStatus_t set(T& field, const void* value, size_t size) {
  if (size != sizeof field) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&field, value, size);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

int host_cublaslt_asked() { return asked; }
void host_cublaslt_refuse(bool all) { refuses = all; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int one;
  *handle = as<std::remove_pointer_t<cublasLtHandle_t>>(&one);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t) { return "a status"; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute, cudaDataType_t scale) {
  *d = as<std::remove_pointer_t<cublasLtMatmulDesc_t>>(new Product{compute});
  return scale == CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return delete as<Product>(d), CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t name,
                                              const void* value, size_t size) {
  Product& p = *as<Product>(d);
  if (name == CUBLASLT_MATMUL_DESC_TRANSA) return set(p.transpose_a, value, size);
  if (name == CUBLASLT_MATMUL_DESC_TRANSB) return set(p.transpose_b, value, size);
  if (name == CUBLASLT_MATMUL_DESC_EPILOGUE) return set(p.epilogue, value, size);
  if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER) return set(p.bias, value, size);
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* m, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t pitch) {
  *m = as<std::remove_pointer_t<cublasLtMatrixLayout_t>>(new Matrix{type, rows, columns, pitch});
  return pitch >= int64_t(rows) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t m) {
  return delete as<Matrix>(m), CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = as<std::remove_pointer_t<cublasLtMatmulPreference_t>>(new Wishes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  return delete as<Wishes>(p), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void* value,
                                                    size_t size) {
  Wishes& w = *as<Wishes>(p);
  if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return set(w.workspace, value, size);
  if (name == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) return set(w.sums, value, size);
  const int operand = int(name) - int(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  return operand >= 0 && operand < 4 ? set(w.alignment[operand], value, size) : CUBLAS_STATUS_INVALID_VALUE;
}

// The algorithm remembers the alignments that it was chosen for.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t p, int, cublasLtMatmulHeuristicResult_t* best,
                                              int* count) {
  ++asked;
  *count = !refuses && as<Wishes>(p)->sums == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  std::memcpy(&best->algo, as<Wishes>(p)->alignment, 4 * sizeof(uint32_t));
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* to,
                              cublasLtMatrixLayout_t to_layout, const cublasLtMatmulAlgo_t* algorithm, void*, size_t,
                              cudaStream_t) {
  const Product& p = *as<Product>(d);
  const Matrix &left = *as<Matrix>(a_layout), &right = *as<Matrix>(b_layout), &result = *as<Matrix>(to_layout);
  const bool ta = p.transpose_a == CUBLAS_OP_T, tb = p.transpose_b == CUBLAS_OP_T;
  const uint64_t m = ta ? left.columns : left.rows, k = ta ? left.rows : left.columns;
  const uint64_t n = tb ? right.rows : right.columns;
  uint32_t alignment[4];
  std::memcpy(alignment, algorithm, sizeof alignment);
  const void* const operands[] = {a, b, c, to};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<uintptr_t>(operands[i]) % alignment[i] != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (k != (tb ? right.columns : right.rows) || m != result.rows || n != result.columns || left.type != right.type)
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool narrow = left.type == CUDA_R_16BF;  // pedantic: without tensor cores, which round f32 factors
  if (p.compute != (narrow ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_PEDANTIC)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Matrix bias{result.type, m, 1, int64_t(m)};  // has the type of the result
  for (uint64_t i = 0; i < m; ++i)
    for (uint64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (uint64_t l = 0; l < k; ++l)
        sum += (ta ? left.at(a, l, i) : left.at(a, i, l)) * (tb ? right.at(b, j, l) : right.at(b, l, j));
      sum *= *static_cast<const float*>(alpha);
      if (const float more = *static_cast<const float*>(beta); more != 0) sum += more * result.at(c, i, j);
      if (p.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += bias.at(p.bias, i, 0);
      result.set(to, i, j, sum);
    }
  return CUBLAS_STATUS_SUCCESS;
}
}
