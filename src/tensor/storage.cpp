#include "tensor/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "io/current_error.h"
#include "tensor/block_pool.h"
#include "tensor/host_memory.h"

namespace vlm2vec {
namespace {

// Smaller blocks come from malloc; under AddressSanitizer all do, so that it watches their ends.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kOwnPages = INT64_MAX;
#else
constexpr int64_t kOwnPages = 64 << 10;
#endif

constexpr int64_t kAlignment = 64;  // a cache line
int64_t padded(int64_t bytes) { return std::max((bytes + kAlignment - 1) / kAlignment, int64_t(1)) * kAlignment; }

struct Pool {
  std::mutex lock;
  BlockPool pages;
  MemoryStatistics statistics;
  int64_t small_bytes = 0;

  void* take(int64_t bytes) {
    const bool small = bytes < kOwnPages;
    void* p = small ? std::aligned_alloc(kAlignment, size_t(padded(bytes))) : pages.take(bytes);
    if (p && small) small_bytes += padded(bytes);
    count_held();
    return p;
  }

  void give(void* p, int64_t bytes) {
    if (bytes < kOwnPages) std::free(p), small_bytes -= padded(bytes);
    else pages.give(static_cast<char*>(p), bytes);
    count_held();
  }

  void count_held() {
    statistics.held_bytes = pages.held() + small_bytes;
    statistics.peak_held_bytes = std::max(statistics.peak_held_bytes, statistics.held_bytes);
  }
};

// At least one page, so that each tensor has an address of its own.
int64_t mapped_size(int64_t bytes) { return std::max<int64_t>(bytes, 4096); }

void* map_nothing(int64_t bytes) {
  void* p = mmap(nullptr, size_t(mapped_size(bytes)), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

bool dry_run = false;

Pool& pool() {
  static Pool* pool = new Pool;  // never destroyed: tensors in static variables may outlive it
  return *pool;
}

}  // namespace

const char* name_of(Device device) {
  constexpr const char* names[] = {"cpu", "emu", "cuda"};
  return names[device.kind];
}

Device parse_device(const std::string& name) {
  if (name == "cpu") return Device::cpu;
  if (name == "emu") return Device::emu;
  if (name == "cuda")
    fail(Exit::device,
         "--device cuda: this program runs on the CPU only (its kernels compile for GPUs: make kernels); use --device "
         "cpu");
  fail(Exit::usage, "--device ", name, ": expected cpu, emu or cuda");
}

Storage::Storage(int64_t bytes, Device device) : bytes(bytes), device(device) {
  CHECK(device != Device::cuda, "this program runs on the CPU only");
  Pool& p = pool();
  std::lock_guard guard(p.lock);
  dry = dry_run;
  data = dry ? map_nothing(bytes) : p.take(bytes);
  if (!data)
    throw OutOfMemory(
        sentence("out of memory: needed ", in_bytes(bytes), " more, tensors hold ", in_bytes(p.statistics.live_bytes)));
  p.statistics.live_bytes += bytes;
  p.statistics.peak_bytes = std::max(p.statistics.peak_bytes, p.statistics.live_bytes);
}

Storage::Storage(const void* data, int64_t bytes, std::shared_ptr<const void> owner)
    : data(const_cast<void*>(data)), bytes(bytes), device(Device::cpu), owner(std::move(owner)) {}

Storage::~Storage() {
  if (owner || !data) return;
  Pool& p = pool();
  std::lock_guard guard(p.lock);
  if (dry) munmap(data, size_t(mapped_size(bytes)));
  else p.give(data, bytes);
  p.statistics.live_bytes -= bytes;
}

MemoryStatistics memory_statistics() {
  std::lock_guard guard(pool().lock);
  return pool().statistics;
}

void reset_peak_bytes() {
  std::lock_guard guard(pool().lock);
  MemoryStatistics& s = pool().statistics;
  s.peak_bytes = s.live_bytes, s.peak_held_bytes = s.held_bytes;
}

DryRun::DryRun() {
  CHECK(!dry_run, "a dry run within a dry run");
  dry_run = true;
}
DryRun::~DryRun() { dry_run = false; }
bool DryRun::on() { return dry_run; }

}  // namespace vlm2vec
