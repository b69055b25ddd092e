#include "allocations.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

namespace vlm2vec {
namespace {

std::atomic<int64_t> live{0}, peak{0}, base{0};

[[maybe_unused]] void* count(void* p) {
  if (!p) return p;
  const int64_t now = live += int64_t(malloc_usable_size(p));
  for (int64_t seen = peak; now > seen && !peak.compare_exchange_weak(seen, now);) {
  }
  return p;
}
[[maybe_unused]] void discount(void* p) {
  if (p) live -= int64_t(malloc_usable_size(p));
}

}  // namespace

int64_t peak_allocated() { return peak - base; }
void reset_peak_allocated() { peak = base = live.load(); }

}  // namespace vlm2vec

#if !defined(__SANITIZE_ADDRESS__)
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* malloc(size_t size) { return vlm2vec::count(__libc_malloc(size)); }
void* calloc(size_t n, size_t size) { return vlm2vec::count(__libc_calloc(n, size)); }
void* realloc(void* p, size_t size) {
  vlm2vec::discount(p);
  void* grown = __libc_realloc(p, size);
  vlm2vec::count(grown || size == 0 ? grown : p);
  return grown;
}
void* memalign(size_t alignment, size_t size) { return vlm2vec::count(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** p, size_t alignment, size_t size) {
  *p = memalign(alignment, size);
  return *p ? 0 : ENOMEM;
}
void free(void* p) {
  vlm2vec::discount(p);
  __libc_free(p);
}
}
#endif
