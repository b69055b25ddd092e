#include "tensor/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "tensor/current_error.h"
#include "tensor/host_memory.h"

namespace vlm2vec {
namespace {

constexpr int64_t kHugePage = 2 << 20;

// Eight sizes per power of two: at most an eighth of a block is wasted.
int64_t block_size(int64_t bytes) {
  if (bytes <= 256) return 256;
  const int64_t step = std::max<int64_t>(64, int64_t(1) << (61 - __builtin_clzll(uint64_t(bytes - 1))) >> 1);
  return (bytes + step - 1) / step * step;
}

struct Pool {
  std::mutex lock;
  std::map<int64_t, std::vector<void*>> free_blocks;  // by size
  MemoryStatistics statistics;

  void release() {
    for (auto& [size, blocks] : free_blocks) {
      for (void* p : blocks) std::free(p);
      blocks.clear();
    }
  }

  void* take(int64_t size) {
    auto& blocks = free_blocks[size];
    if (!blocks.empty()) {
      void* p = blocks.back();
      blocks.pop_back();
      return p;
    }
    const bool huge = size >= 2 * kHugePage;
    void* p = nullptr;
    const auto allocate = [&] { return posix_memalign(&p, huge ? kHugePage : 64, size_t(size)) == 0; };
    if (!allocate()) {
      release();  // blocks of other sizes may make room
      if (!allocate()) return nullptr;
    }
    if (huge) madvise(p, size_t(size), MADV_HUGEPAGE);
    return p;
  }
};

// Of at least a page, so that each tensor has an address of its own.
int64_t mapped_size(int64_t bytes) { return std::max<int64_t>(bytes, 4096); }

void* map_nothing(int64_t bytes) {
  void* p = mmap(nullptr, size_t(mapped_size(bytes)), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}

bool dry_run = false;

Pool& pool() {
  static Pool* pool = new Pool;  // never destroyed: tensors in static variables outlive it otherwise
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
  data = dry ? map_nothing(bytes) : p.take(block_size(bytes));
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
  else p.free_blocks[block_size(bytes)].push_back(data);
  p.statistics.live_bytes -= bytes;
}

MemoryStatistics memory_statistics() {
  std::lock_guard guard(pool().lock);
  return pool().statistics;
}

void reset_peak_bytes() {
  std::lock_guard guard(pool().lock);
  pool().statistics.peak_bytes = pool().statistics.live_bytes;
}

DryRun::DryRun() {
  CHECK(!dry_run, "a dry run within a dry run");
  dry_run = true;
}
DryRun::~DryRun() { dry_run = false; }
bool DryRun::on() { return dry_run; }

}  // namespace vlm2vec
