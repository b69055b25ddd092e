// cublasLt's matrices are column-major: a row-major matrix is the transpose of a column-major one, so that
// cᵀ = op(b)ᵀ·op(a)ᵀ is computed, and the bias of a row of c is one of cᵀ's columns, as the epilogue adds it.
#include "kernels/cublas.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>

#include "kernels/gpu.h"
#include "tensor/tensor.h"

namespace vlm2vec {
namespace {

gpu::Products products;

// The functions of the library that are used.
struct Library {
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose;
  decltype(&cublasLtMatmulDescCreate) make_operation;
  decltype(&cublasLtMatmulDescDestroy) drop_operation;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation;
  decltype(&cublasLtMatrixLayoutCreate) make_layout;
  decltype(&cublasLtMatrixLayoutDestroy) drop_layout;
  decltype(&cublasLtMatmulPreferenceCreate) make_preference;
  decltype(&cublasLtMatmulPreferenceDestroy) drop_preference;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference;
  decltype(&cublasLtGetStatusString) reason;
  cublasLtHandle_t handle = nullptr;
};

void* open_library(std::string& tried) {
  const char* folder = std::getenv("VLM2VEC_CUDA_LIBRARIES");
  for (const std::string& place : {folder && *folder ? std::string(folder) + "/" : std::string(), std::string()})
    for (const char* version : {".13", ".12"}) {
      const std::string file = place + "libcublasLt.so" + version;
      if (void* found = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return found;
      const std::string why = dlerror();  // names the file
      if (tried.find(why) == tried.npos) tried += (tried.empty() ? "" : "; ") + why;
    }
  return nullptr;
}

Library load_library() {
  std::string tried;
  void* const file = open_library(tried);
  if (!file)
    fail(Exit::device, "--device cuda: cublasLt cannot be loaded (", tried,
         "); install cuBLAS, name its folder in VLM2VEC_CUDA_LIBRARIES, or give --cublas False");
  Library lt;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(file, name));
    if (!function) fail(Exit::device, "cublasLt has no function ", name, "; give --cublas False");
  };
  find(lt.create, "cublasLtCreate"), find(lt.matmul, "cublasLtMatmul");
  find(lt.choose, "cublasLtMatmulAlgoGetHeuristic"), find(lt.reason, "cublasLtGetStatusString");
  find(lt.make_operation, "cublasLtMatmulDescCreate"), find(lt.drop_operation, "cublasLtMatmulDescDestroy");
  find(lt.set_operation, "cublasLtMatmulDescSetAttribute");
  find(lt.make_layout, "cublasLtMatrixLayoutCreate"), find(lt.drop_layout, "cublasLtMatrixLayoutDestroy");
  find(lt.make_preference, "cublasLtMatmulPreferenceCreate");
  find(lt.drop_preference, "cublasLtMatmulPreferenceDestroy");
  find(lt.set_preference, "cublasLtMatmulPreferenceSetAttribute");
  if (const cublasStatus_t status = lt.create(&lt.handle); status != CUBLAS_STATUS_SUCCESS)
    fail(Exit::device, "cublasLtCreate: ", lt.reason(status));
  return lt;
}

const Library& library() {
  static const Library lt = load_library();
  return lt;
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(Exit::device, call, ": ", library().reason(status));
}

cudaDataType_t type_of(const Tensor& x) { return x.dtype() == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }
// Returns the power of two, up to 256, that divides the address.
uint32_t alignment_of(const Tensor& x) {
  return std::min<uint32_t>(256, uint32_t(1) << std::countr_zero(reinterpret_cast<uintptr_t>(x.raw())));
}

// A row-major [rows, columns] matrix as a column-major one.
struct Layout {
  explicit Layout(const Tensor& x) {
    check(library().make_layout(&it, type_of(x), uint64_t(x.columns()), uint64_t(x.rows()), x.columns()),
          "cublasLtMatrixLayoutCreate");
  }
  ~Layout() { library().drop_layout(it); }
  Layout(const Layout&) = delete;
  cublasLtMatrixLayout_t it = nullptr;
};

struct Operation {
  explicit Operation(cublasComputeType_t compute) {
    check(library().make_operation(&it, compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
  }
  ~Operation() { library().drop_operation(it); }
  Operation(const Operation&) = delete;
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    check(library().set_operation(it, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }
  cublasLtMatmulDesc_t it = nullptr;
};

struct Preference {
  Preference() { check(library().make_preference(&it), "cublasLtMatmulPreferenceCreate"); }
  ~Preference() { library().drop_preference(it); }
  Preference(const Preference&) = delete;
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) const {
    check(library().set_preference(it, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
  }
  cublasLtMatmulPreference_t it = nullptr;
};

const Tensor& workspace(Device device) {
  // Never freed: the driver may end before static variables do.
  static const Tensor* const memory = new Tensor({gpu::kWorkspaceBytes}, DType::u8, device);
  return *memory;
}

// Tensor cores take bf16 factors as they are, but f32 ones only rounded: pedantic means without them.
cublasComputeType_t compute_type(DType factors) {
  if (factors == DType::bf16) return CUBLAS_COMPUTE_32F;
  return products.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_PEDANTIC;
}

// Everything that the choice of an algorithm depends on.
using Case = std::array<int64_t, 15>;

// Returns null if the library has none.
const cublasLtMatmulAlgo_t* algorithm_for(const Case& key, const Operation& operation, const Layout& a, const Layout& b,
                                   const Layout& c, const std::array<const Tensor*, 3>& matrices) {
  static std::map<Case, std::optional<cublasLtMatmulAlgo_t>> chosen;
  static std::mutex lock;
  const std::lock_guard guard(lock);
  const auto [place, is_new] = chosen.try_emplace(key);
  std::optional<cublasLtMatmulAlgo_t>& algorithm = place->second;
  if (!is_new) return algorithm ? &*algorithm : nullptr;
  const Preference preference;
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, size_t(gpu::kWorkspaceBytes));
  // Sums of parts are added in f32, not in the type of the result.
  preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(*matrices[0]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(*matrices[1]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(*matrices[2]));
  preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(*matrices[2]));
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const Library& lt = library();
  const cublasStatus_t status =
      lt.choose(lt.handle, operation.it, a.it, b.it, c.it, c.it, preference.it, 1, &best, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) return nullptr;
  return &algorithm.emplace(best.algo);
}

}  // namespace

void gpu::use_products(const Products& wanted) { products = wanted; }
std::string gpu::described_products() {
  return std::string(products.cublas ? "" : " --cublas False") + (products.tf32 ? " --tf32 True" : "");
}
std::string gpu::open_products(bool required) {
  if (!products.cublas) return "";
  try {
    library();
  } catch (const Error& error) {
    if (required) throw;
    products.cublas = false;
    return error.what();
  }
  return "";
}

// Both factors get one type: a stored bf16 or f16 weight beside f32 activations is widened for the product.
bool cublas::matmul(const Tensor& a, const Tensor& b, const Tensor& bias, MatmulOptions o, const Tensor& c) {
  if (!products.cublas || a.dtype() == DType::f64 || a.numel() == 0 || b.numel() == 0) return false;
  const Tensor left = a, right = b.to(a.dtype()), row = bias ? bias.to(c.dtype()) : bias;
  const cublasComputeType_t compute = compute_type(a.dtype());
  const Operation operation(compute);
  operation.set(CUBLASLT_MATMUL_DESC_TRANSA, o.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  operation.set(CUBLASLT_MATMUL_DESC_TRANSB, o.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (row) {
    operation.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    const void* const address = row.raw();
    operation.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, address);
  }
  const Layout first(right), second(left), result(c);
  const Case key{right.rows(), right.columns(), left.rows(), left.columns(), c.rows(), int64_t(left.dtype()),
                 int64_t(c.dtype()), o.transpose_a, o.transpose_b, o.accumulate, row ? alignment_of(row) : 0,
                 alignment_of(right), alignment_of(left), alignment_of(c), int64_t(compute)};
  const cublasLtMatmulAlgo_t* const algorithm =
      algorithm_for(key, operation, first, second, result, {&right, &left, &c});
  if (!algorithm) return false;
  const float one = 1, beta = o.accumulate ? 1.f : 0.f;
  const Tensor& scratch = workspace(c.device());
  check(library().matmul(library().handle, operation.it, &one, right.raw(), first.it, left.raw(), second.it, &beta,
                         c.raw(), result.it, c.raw(), result.it, algorithm, scratch.raw(), size_t(scratch.bytes()),
                         nullptr),
        "cublasLtMatmul");
  return true;
}

}  // namespace vlm2vec
