// Cards and their memory. Allocation is ordered by the stream: freed blocks stay in the driver's pool for later steps.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "io/error.h"
#include "kernels/gpu.h"

namespace vlm2vec::gpu {
namespace {

constexpr int oldest_major = 8;  // sm_80: bf16 and cp.async

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again
  fail(Exit::device, call, ": ", cudaGetErrorString(error));
}

int driver_version() {
  int version = 0;
  check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return version;
}

std::string shown(int version) { return sentence(version / 1000, ".", version % 1000 / 10); }

// Memory that is freed stays with the process.
void keep_freed_memory() {
  static const bool done = [] {
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, 0), "cudaDeviceGetDefaultMemPool");
    uint64_t all = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "cudaMemPoolSetAttribute");
    return true;
  }();
  static_cast<void>(done);
}

// Host memory that the card reads and writes by itself. Two take turns.
struct PinnedBuffer {
  static constexpr int64_t size = 8 << 20;
  static std::mutex lock;
  void* memory = nullptr;
  cudaEvent_t done = nullptr;  // of the last copy

  PinnedBuffer() {
    check(cudaMallocHost(&memory, size_t(size)), "cudaMallocHost");
    check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "cudaEventCreate");
  }
  void mark() { check(cudaEventRecord(done, nullptr), "cudaEventRecord"); }
  void wait() { check(cudaEventSynchronize(done), "cudaEventSynchronize"); }
};
std::mutex PinnedBuffer::lock;

PinnedBuffer& pinned(int64_t turn) {
  static PinnedBuffer* const both = new PinnedBuffer[2];  // never freed: the driver may end first
  return both[turn % 2];
}

}  // namespace

std::string toolkit() { return shown(CUDART_VERSION); }

std::string driver() {
  const int version = driver_version();
  return version > 0 ? shown(version) : "";
}

std::vector<Card> cards() {
  int count = 0;
  if (driver_version() == 0 || cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return {};
  }
  std::vector<Card> all;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
    Card card{properties.name, properties.major, properties.minor, int64_t(properties.totalGlobalMem), 0};
    if (i == 0 && card.major >= oldest_major) {  // asking makes a context, which takes time and memory
      size_t free = 0, total = 0;
      check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
      card.free_bytes = int64_t(free);
    }
    all.push_back(card);
  }
  return all;
}

std::string missing() {
  const int version = driver_version();
  if (version == 0) return "there is no NVIDIA driver";
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver)
    return sentence("the NVIDIA driver knows CUDA ", shown(version), ", this program was built with ",
                    shown(CUDART_VERSION), "; update the driver");
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) return "the NVIDIA driver finds no GPU";
  if (error != cudaSuccess) return sentence("the NVIDIA driver fails: ", cudaGetErrorString(error));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  if (properties.major < oldest_major)
    return sentence("the GPU is a ", properties.name, " of compute capability ", properties.major, ".",
                    properties.minor, "; at least 8.0 is needed (A100, RTX 30)");
  return "";
}

void* allocate(int64_t bytes) {
  keep_freed_memory();
  void* memory = nullptr;
  const cudaError_t error = cudaMallocAsync(&memory, size_t(bytes > 0 ? bytes : 1), nullptr);
  if (error == cudaErrorMemoryAllocation) return cudaGetLastError(), nullptr;
  check(error, "cudaMallocAsync");
  return memory;
}

void release(void* memory) { cudaFreeAsync(memory, nullptr); }  // no throw: called by destructors

void upload(void* device, const void* host, int64_t bytes) {
  const std::lock_guard guard(PinnedBuffer::lock);
  for (int64_t begin = 0; begin < bytes; begin += PinnedBuffer::size) {
    const size_t part = size_t(std::min(PinnedBuffer::size, bytes - begin));
    PinnedBuffer& buffer = pinned(begin / PinnedBuffer::size);
    buffer.wait();
    std::memcpy(buffer.memory, static_cast<const char*>(host) + begin, part);
    check(cudaMemcpyAsync(static_cast<char*>(device) + begin, buffer.memory, part, cudaMemcpyHostToDevice, nullptr),
          "cudaMemcpyAsync");
    buffer.mark();
  }
}

// While the host empties one buffer, the card fills the other.
void download(void* host, const void* device, int64_t bytes) {
  const std::lock_guard guard(PinnedBuffer::lock);
  const auto part_at = [=](int64_t begin) { return size_t(std::min(PinnedBuffer::size, bytes - begin)); };
  const auto fill = [=](int64_t begin) {
    if (begin >= bytes) return;
    PinnedBuffer& buffer = pinned(begin / PinnedBuffer::size);
    buffer.wait();
    check(cudaMemcpyAsync(buffer.memory, static_cast<const char*>(device) + begin, part_at(begin),
                          cudaMemcpyDeviceToHost, nullptr),
          "cudaMemcpyAsync");
    buffer.mark();
  };
  fill(0);
  for (int64_t begin = 0; begin < bytes; begin += PinnedBuffer::size) {
    fill(begin + PinnedBuffer::size);
    PinnedBuffer& buffer = pinned(begin / PinnedBuffer::size);
    buffer.wait();
    std::memcpy(static_cast<char*>(host) + begin, buffer.memory, part_at(begin));
  }
}

void copy(void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, nullptr), "cudaMemcpyAsync");
}

void clear(void* memory, int64_t bytes) {
  check(cudaMemsetAsync(memory, 0, size_t(bytes), nullptr), "cudaMemsetAsync");
}

}  // namespace vlm2vec::gpu
