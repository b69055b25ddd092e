// Cards and their memory. Allocation is ordered by the stream: freed blocks stay in the driver's pool for later steps.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "kernels/cuda.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

namespace vlm2vec::gpu {
namespace {

constexpr int oldest_major = 8;  // sm_80: bf16 and cp.async

thread_local cudaStream_t stream = nullptr;  // of this thread's allocations and copies; null: that of the kernels

bool waits_for_launches() {
  static const char* const asked = std::getenv("VLM2VEC_SYNC");
  return asked && *asked && std::strcmp(asked, "0") != 0;
}

// Checks calls that launch nothing: they may report the error of an earlier kernel.
void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again
  fail(Exit::device, call, ": ", cudaGetErrorString(error),
       waits_for_launches() ? "" : "; with VLM2VEC_SYNC=1 an error names the kernel that it is of");
}

int driver_version() {
  int version = 0;
  check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
  return version;
}

std::string shown(int version) { return sentence(version / 1000, ".", version % 1000 / 10); }

std::atomic<cudaMemPool_t> used_pool = nullptr;

// The driver's pool. Memory that is freed stays in it.
cudaMemPool_t pool() {
  static const cudaMemPool_t it = [] {
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, 0), "cudaDeviceGetDefaultMemPool");
    uint64_t all = UINT64_MAX;
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "cudaMemPoolSetAttribute");
    return used_pool = pool;
  }();
  return it;
}

// Host memory that the card reads and writes by itself.
struct PinnedBuffer {
  static constexpr int64_t size = 8 << 20;
  void* memory = nullptr;
  cudaEvent_t done = nullptr;  // of the last copy

  PinnedBuffer() {
    check(cudaMallocHost(&memory, size_t(size)), "cudaMallocHost");
    check(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), "cudaEventCreate");
  }
  void mark() { check(cudaEventRecord(done, stream), "cudaEventRecord"); }
  void wait() { check(cudaEventSynchronize(done), "cudaEventSynchronize"); }
};

// Two of them take turns, also from one copy to the next.
struct PinnedPair {
  std::mutex lock;
  PinnedBuffer both[2];
  int turn = 0;
  PinnedBuffer& next() { return both[turn ^= 1]; }
};
PinnedPair& for_uploads() {
  static PinnedPair* const pair = new PinnedPair;  // never freed: the driver may end first
  return *pair;
}
PinnedPair& for_downloads() {
  static PinnedPair* const pair = new PinnedPair;
  return *pair;
}

cudaStream_t copy_stream() {
  static const cudaStream_t it = [] {
    cudaStream_t made = nullptr;
    check(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return made;
  }();
  return it;
}

int64_t attribute_of_pool(cudaMemPoolAttr name) {
  uint64_t bytes = 0;
  check(cudaMemPoolGetAttribute(used_pool, name, &bytes), "cudaMemPoolGetAttribute");
  return int64_t(bytes);
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
    all.push_back({properties.name, properties.major, properties.minor, int64_t(properties.totalGlobalMem)});
  }
  return all;
}

int64_t free_bytes() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return int64_t(free);
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
  if (const cudaError_t failed = cudaFree(nullptr); failed != cudaSuccess) {  // makes the context
    cudaGetLastError();
    return sentence("the ", properties.name, " cannot be used: ", cudaGetErrorString(failed));
  }
  return "";
}

void* allocate(int64_t bytes) {
  const cudaMemPool_t from = pool();
  void* memory = nullptr;
  cudaError_t error = cudaSuccess;
  for (const bool again : {false, true}) {
    if (again) {  // what was freed in other sizes goes back to the driver first
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
      check(cudaMemPoolTrimTo(from, 0), "cudaMemPoolTrimTo");
    }
    error = cudaMallocAsync(&memory, size_t(bytes > 0 ? bytes : 1), stream);
    if (error != cudaErrorMemoryAllocation) break;
    cudaGetLastError();
  }
  if (error == cudaErrorMemoryAllocation) return nullptr;
  check(error, "cudaMallocAsync");
  return memory;
}

void release(void* memory) {  // no throw: called by destructors
  if (cudaFreeAsync(memory, stream) != cudaSuccess) cudaGetLastError();
}

void upload(void* device, const void* host, int64_t bytes) {
  PinnedPair& pinned = for_uploads();
  const std::lock_guard guard(pinned.lock);
  for (int64_t begin = 0; begin < bytes; begin += PinnedBuffer::size) {
    const size_t part = size_t(std::min(PinnedBuffer::size, bytes - begin));
    PinnedBuffer& buffer = pinned.next();
    buffer.wait();
    std::memcpy(buffer.memory, static_cast<const char*>(host) + begin, part);
    check(cudaMemcpyAsync(static_cast<char*>(device) + begin, buffer.memory, part, cudaMemcpyHostToDevice, stream),
          "cudaMemcpyAsync");
    buffer.mark();
  }
}

// While the host empties one buffer, the card fills the other.
void download(void* host, const void* device, int64_t bytes) {
  PinnedPair& pinned = for_downloads();
  const std::lock_guard guard(pinned.lock);
  const auto part_at = [=](int64_t begin) { return size_t(std::min(PinnedBuffer::size, bytes - begin)); };
  const auto fill = [&](int64_t begin) {
    if (begin >= bytes) return;
    PinnedBuffer& buffer = pinned.both[begin / PinnedBuffer::size % 2];
    buffer.wait();
    check(cudaMemcpyAsync(buffer.memory, static_cast<const char*>(device) + begin, part_at(begin),
                          cudaMemcpyDeviceToHost, stream),
          "cudaMemcpyAsync");
    buffer.mark();
  };
  fill(0);
  for (int64_t begin = 0; begin < bytes; begin += PinnedBuffer::size) {
    fill(begin + PinnedBuffer::size);
    PinnedBuffer& buffer = pinned.both[begin / PinnedBuffer::size % 2];
    buffer.wait();
    std::memcpy(static_cast<char*>(host) + begin, buffer.memory, part_at(begin));
  }
}

void copy(void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
}

void clear(void* memory, int64_t bytes) {
  check(cudaMemsetAsync(memory, 0, size_t(bytes), stream), "cudaMemsetAsync");
}

// On a stream of its own, from which the pool gives memory that no kernel uses any more. The wait makes what was copied
// everybody's, also for the error of a copy: its tensors are freed on this stream.
void beside_kernels(const std::function<void()>& copies) {
  const struct Use {
    Use() { stream = copy_stream(); }
    ~Use() { stream = nullptr; }
  } use;
  copies();
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

double seconds_of(const std::function<void()>& work) {
  static const auto made = [] {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    return event;
  };
  static const cudaEvent_t begin = made(), end = made();
  check(cudaEventRecord(begin, stream), "cudaEventRecord");
  work();
  check(cudaEventRecord(end, stream), "cudaEventRecord");
  check(cudaEventSynchronize(end), "cudaEventSynchronize");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
  return milliseconds / 1e3;
}

Held held() {
  if (!used_pool.load()) return {};
  return {attribute_of_pool(cudaMemPoolAttrReservedMemCurrent), attribute_of_pool(cudaMemPoolAttrReservedMemHigh)};
}

void reset_peak_held() {
  uint64_t none = 0;
  if (used_pool.load())
    check(cudaMemPoolSetAttribute(used_pool, cudaMemPoolAttrReservedMemHigh, &none), "cudaMemPoolSetAttribute");
}

void check_launch(dim3 grid, dim3 block, size_t shared_bytes) {
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess && waits_for_launches()) error = cudaDeviceSynchronize();
  if (error != cudaSuccess)
    fail(Exit::device, running_kernel, ": ", cudaGetErrorString(error), "; grid (", grid.x, ", ", grid.y, ", ", grid.z,
         "), block (", block.x, ", ", block.y, ", ", block.z, "), ", shared_bytes, " bytes of shared memory");
}

void allow_shared_memory(const void* kernel, size_t bytes) {
  int most = 0;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "cudaDeviceGetAttribute");
  if (bytes > size_t(most))
    fail(Exit::device, running_kernel, ": a block needs ", bytes, " bytes of shared memory; the GPU has ", most);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), "cudaFuncSetAttribute");
}

}  // namespace vlm2vec::gpu
