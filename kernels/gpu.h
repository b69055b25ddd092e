// The GPU as the host sees it: cards, memory and errors. No CUDA type leaves kernels/. Without CUDA (`make`) the same
// functions exist, and say so. Failed CUDA calls throw Exit::device; a card without memory gives null.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vlm2vec::gpu {

std::string toolkit();  // "13.0", the CUDA of this build; empty: built without

struct Card {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int64_t bytes = 0;
};

// Returns all cards, usable or not; empty without CUDA, driver or GPU.
std::vector<Card> cards();
// Returns why no card can be used, as a part of a sentence: "there is no NVIDIA driver". Empty if the first one can,
// which has a context of this process from then on.
std::string missing();
int64_t free_bytes();  // of the first card, which must be usable
std::string driver();  // "13.0", the newest CUDA that the driver knows; empty: there is no driver

// How products are computed: by cuBLAS or by the kernels of matmul.cu; tf32 rounds factors in f32 to 11 bits.
struct Products {
  bool cublas = true, tf32 = false;
};
void use_products(const Products& products);
std::string described_products();  // the options that are not the default: " --tf32 True"
// Finds cuBLAS if it is used. Where it is not, throws Exit::device if it is required; else products are the kernels'
// from now on, and the reason is returned.
std::string open_products(bool required);
inline constexpr int64_t kWorkspaceBytes = 32ll << 20;  // that cuBLAS gets, as NVIDIA advises for Hopper

void* allocate(int64_t bytes);
void release(void* memory);
// Copies through pinned buffers. upload() returns when the host's bytes may change, download() when they are there.
void upload(void* device, const void* host, int64_t bytes);
void download(void* host, const void* device, int64_t bytes);
void copy(void* to, const void* from, int64_t bytes);  // on the device
void clear(void* memory, int64_t bytes);               // fills with zero bytes

// Runs `copies` beside the kernels of other threads, and waits until all is copied. It may allocate, free and copy
// memory of the card, but launch no kernel.
void beside_kernels(const std::function<void()>& copies);

// Returns the seconds that the card takes for what `work` launches on it.
double seconds_of(const std::function<void()>& work);

// Bytes that the driver's pool has taken from the card for this process: now, and at the most since reset_peak_held().
struct Held {
  int64_t now = 0, peak = 0;
};
Held held();
void reset_peak_held();

}  // namespace vlm2vec::gpu

namespace vlm2vec::emulator {
void use_os_threads(int n);  // as many share the blocks of a launch in the emulator; 1 until then
}
