// The GPU of a program that was built without CUDA: none.
#include "io/error.h"
#include "kernels/gpu.h"

namespace vlm2vec::gpu {

std::string toolkit() { return ""; }
std::vector<Card> cards() { return {}; }
std::string missing() { return "this program was built without CUDA; build it with `make CUDA=1`"; }
std::string driver() { return ""; }
int64_t free_bytes() { return 0; }

void use_products(const Products&) {}
std::string described_products() { return ""; }
std::string open_products(bool) { return missing(); }

void* allocate(int64_t) { fail(Exit::device, missing()); }
void release(void*) {}
void upload(void*, const void*, int64_t) { fail(Exit::device, missing()); }
void download(void*, const void*, int64_t) { fail(Exit::device, missing()); }
void copy(void*, const void*, int64_t) { fail(Exit::device, missing()); }
void clear(void*, int64_t) { fail(Exit::device, missing()); }
void beside_kernels(const std::function<void()>& copies) { copies(); }
double seconds_of(const std::function<void()>&) { fail(Exit::device, missing()); }
Held held() { return {}; }
void reset_peak_held() {}

}  // namespace vlm2vec::gpu

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define KERNEL(name, ...)                                              \
  namespace gpu {                                                      \
  void name(__VA_ARGS__) { fail(Exit::device, #name ": ", missing()); } \
  }
#include "kernels/kernels.h"
