#include "tensor/cpu/simd/simd.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "io/error.h"
#include "io/text.h"

namespace vlm2vec {

namespace base {
extern const Simd table;
}
namespace avx2 {
extern const Simd table;
}
namespace avx512 {
extern const Simd table;
}
namespace avx512bf16 {
extern const Bf16Products bf16_products;
}
namespace amx {
extern const Bf16Products bf16_products;
}

namespace {
Simd avx512_and(const char* name, const Bf16Products& products) {
  Simd table = avx512::table;
  table.name = name;
  table.gemm_bf16 = products.gemm, table.attention_bf16 = products.attention;
  table.attention_bf16_backward = products.attention_backward, table.spin_bf16 = products.spin;
  return table;
}
// Whether Linux lets this process use the tile registers, which it does not save unasked.
bool may_use_tiles() {
  constexpr int request_permission = 0x1023, tile_data = 18;
  static const bool may = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return may;
}
}  // namespace

std::vector<const Simd*> available_isas() {
  static const Simd with_bf16 = avx512_and("avx512bf16", avx512bf16::bf16_products);
  static const Simd with_amx = avx512_and("amx", amx::bf16_products);
  std::vector<const Simd*> tables{&base::table};
  // The built-in also checks that the system saves the wide registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  if (avx2) tables.push_back(&avx2::table);
  if (!avx2 || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
    return tables;
  tables.push_back(&avx512::table);
  if (!__builtin_cpu_supports("avx512bf16")) return tables;
  // Intel's processors take four times as long for a product of bf16 pairs as for a multiply-add, AMD's as long.
  tables.insert(__builtin_cpu_is("intel") ? tables.end() - 1 : tables.end(), &with_bf16);
  if (__builtin_cpu_supports("amx-bf16") && may_use_tiles()) tables.push_back(&with_amx);
  return tables;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Simd* table : available_isas()) names.push_back(table->name);
  return names;
}

const Simd& isa_named(const std::string& name) {
  for (const Simd* table : available_isas())
    if (name == table->name) return *table;
  fail(Exit::usage, "VLM2VEC_ISA: expected an instruction set of this machine (", joined(isa_names()), "), got \"",
       name, "\"; unset it to get the best");
}

static std::atomic<const Simd*> override_{nullptr};

const Simd& simd() {
  if (const Simd* table = override_.load(std::memory_order_acquire)) return *table;
  static const char* const wanted = std::getenv("VLM2VEC_ISA");
  static const Simd& chosen = wanted && *wanted ? isa_named(wanted) : *available_isas().back();
  return chosen;
}
const char* isa_name() { return simd().name; }

ScopedIsa::ScopedIsa(const Simd& table) : before_(override_.exchange(&table)) {}
ScopedIsa::~ScopedIsa() { override_ = before_; }

// Uses huge pages: packed panels are read again and again, and a TLB miss costs as much as an L2 miss.
namespace {
struct Scratch {
  float* data = nullptr;
  int64_t floats = 0;
  ~Scratch() { std::free(data); }
  float* get(int64_t wanted) {
    if (wanted <= floats) return data;
    const int64_t page = 2 << 20, bytes = (wanted * int64_t(sizeof(float)) + page - 1) / page * page;
    std::free(data);
    data = static_cast<float*>(std::aligned_alloc(page, bytes));
    floats = data ? bytes / int64_t(sizeof(float)) : 0;
    if (!data) fail(Exit::resources, "out of memory: needed ", bytes, " more bytes for the work space of a thread");
    madvise(data, bytes, MADV_HUGEPAGE);  // only a hint: without huge pages the products are slower
    return data;
  }
};
}  // namespace

float* simd_scratch(int64_t floats) {
  static thread_local Scratch scratch;
  return scratch.get(floats);
}

}  // namespace vlm2vec
