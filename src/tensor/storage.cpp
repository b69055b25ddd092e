#include "tensor/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "io/current_error.h"
#include "kernels/device_memory.h"
#include "kernels/gpu.h"
#include "tensor/block_pool.h"
#include "tensor/card_memory.h"
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

constexpr int64_t kGap = 64;  // bytes behind every block of the emulator's memory that are nobody's

struct Pool {
  std::mutex lock;
  BlockPool pages, device_pages{emulator::map_pages};
  MemoryStatistics statistics;
  PeakBytes live, peak;
  int64_t small_bytes = 0;

  void* take(int64_t bytes, Device device) {
    void* p = nullptr;
    if (device == Device::emu) {
      p = device_pages.take(bytes + kGap);
      if (p) emulator::mark_in_use(static_cast<char*>(p), bytes, true);
    } else if (device == Device::cpu && bytes >= kOwnPages) {
      p = pages.take(bytes);
    } else if (device == Device::cuda) {
      p = gpu::allocate(bytes);
    } else {
      p = std::aligned_alloc(kAlignment, size_t(padded(bytes)));
      if (p) small_bytes += padded(bytes);
    }
    count_held();
    return p;
  }

  void give(void* p, int64_t bytes, Device device) {
    if (device == Device::emu) {
      emulator::mark_in_use(static_cast<char*>(p), bytes, false);
      device_pages.give(static_cast<char*>(p), bytes + kGap);
    } else if (device == Device::cpu && bytes >= kOwnPages) {
      pages.give(static_cast<char*>(p), bytes);
    } else if (device == Device::cuda) {
      gpu::release(p);
    } else {
      std::free(p);
      small_bytes -= padded(bytes);
    }
    count_held();
  }

  void count_held() {
    statistics.held_bytes = pages.held() + device_pages.held() + small_bytes;
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

int64_t PeakBytes::*side_of(Device device) {
  return device == Device::cpu ? &PeakBytes::host : &PeakBytes::device;
}

bool dry_run = false;
thread_local int64_t thread_bytes = 0;
std::string why_not_cuda, why_not_cublas;  // of --device auto
std::atomic<int64_t> ups = 0, downs = 0;

Pool& pool() {
  static Pool* pool = new Pool;  // never destroyed: tensors in static variables may outlive it
  return *pool;
}

}  // namespace

const char* name_of(Device device) {
  constexpr const char* names[] = {"cpu", "emu", "cuda"};
  return names[device.kind];
}

void check_device_name(const std::string& name) {
  for (const char* known : {"auto", "cpu", "emu", "cuda"})
    if (name == known) return;
  fail(Exit::usage, "--device: got \"", name, "\", expected auto, cpu, emu or cuda");
}

Device parse_device(const std::string& name) {
  check_device_name(name);
  if (name == "cpu") return Device::cpu;
  if (name == "emu") return Device::emu;
  const std::string reason = gpu::missing();
  if (reason.empty()) return Device::cuda;
  if (name == "cuda") fail(Exit::device, "--device cuda: ", reason, ". The same command runs with --device cpu");
  why_not_cuda = reason;
  return Device::cpu;
}

void open_products(Device device, bool required) {
  if (device == Device::cuda) why_not_cublas = gpu::open_products(required);
}

const char* default_device() { return gpu::toolkit().empty() ? "cpu" : "auto"; }

std::string device_note(Device device) {
  if (device == Device::cuda)
    return sentence("device cuda: ", gpu::cards().at(0).name,
                    why_not_cublas.empty() ? "" : "; products by the program's own kernels, which are slower: ",
                    why_not_cublas);
  return device == Device::cpu && !why_not_cuda.empty() ? "device cpu: " + why_not_cuda : "";
}

std::string origin_of(Device device) {
  if (device != Device::cuda) return name_of(device);
  return sentence(name_of(device), " (", gpu::cards().at(0).name, ")", gpu::described_products());
}

Storage::Storage(int64_t bytes, Device device) : bytes(bytes), device(device) {
  Pool& p = pool();
  std::lock_guard guard(p.lock);
  dry = dry_run;
  data = dry ? map_nothing(bytes) : p.take(bytes, device);
  if (!data)
    throw OutOfMemory(sentence("out of memory", device == Device::cuda ? " on the GPU" : "", ": needed ",
                               in_bytes(bytes), " more, tensors hold ", in_bytes(p.statistics.live_bytes)));
  thread_bytes += bytes;
  p.statistics.live_bytes += bytes;
  p.statistics.peak_bytes = std::max(p.statistics.peak_bytes, p.statistics.live_bytes);
  int64_t PeakBytes::*const side = side_of(device);
  p.live.*side += bytes;
  p.peak.*side = std::max(p.peak.*side, p.live.*side);
}

Storage::Storage(const void* data, int64_t bytes, std::shared_ptr<const void> owner)
    : data(const_cast<void*>(data)), bytes(bytes), device(Device::cpu), owner(std::move(owner)) {}

Storage::~Storage() {
  if (owner || !data) return;
  Pool& p = pool();
  std::lock_guard guard(p.lock);
  if (dry) munmap(data, size_t(mapped_size(bytes)));
  else p.give(data, bytes, device);
  thread_bytes -= bytes;
  p.statistics.live_bytes -= bytes;
  p.live.*side_of(device) -= bytes;
}

void copy_memory(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (dry_run || bytes == 0) return;
  const bool to_card = to_device == Device::cuda, from_card = from_device == Device::cuda;
  if (to_card && from_card) gpu::copy(to, from, bytes);
  else if (to_card || from_card) (to_card ? gpu::upload : gpu::download)(to, from, bytes);
  else
    std::memcpy(emulator::visible(static_cast<char*>(to)), emulator::visible(static_cast<const char*>(from)),
                size_t(bytes));
  if (to_device.kind != from_device.kind) ++(to_device == Device::cpu ? downs : ups);
}

void clear_memory(void* memory, Device device, int64_t bytes) {
  if (dry_run || bytes == 0) return;
  if (device == Device::cuda) gpu::clear(memory, bytes);
  else std::memset(emulator::visible(static_cast<char*>(memory)), 0, size_t(bytes));
}

Transfers transfers() { return {ups, downs}; }

void copy_beside_kernels(Device device, const std::function<void()>& copies) {
  if (device == Device::cuda && !dry_run) gpu::beside_kernels(copies);
  else copies();
}

MemoryStatistics memory_statistics() {
  std::lock_guard guard(pool().lock);
  MemoryStatistics all = pool().statistics;
  const gpu::Held card = gpu::held();
  all.held_bytes += card.now, all.peak_held_bytes += card.peak;
  return all;
}

void reset_peak_bytes() {
  std::lock_guard guard(pool().lock);
  MemoryStatistics& s = pool().statistics;
  s.peak_bytes = s.live_bytes, s.peak_held_bytes = s.held_bytes;
  pool().peak = pool().live;
  gpu::reset_peak_held();
}

int64_t bytes_of_thread() { return thread_bytes; }

PeakBytes peak_bytes() {
  std::lock_guard guard(pool().lock);
  return pool().peak;
}

CardMemory card_memory() {
  const std::vector<gpu::Card> cards = gpu::cards();
  if (cards.empty()) return {};
  return {cards[0].name, cards[0].bytes, cards[0].bytes - gpu::free_bytes()};
}

int64_t peak_held_on_card() { return gpu::held().peak; }

DryRun::DryRun() {
  CHECK(!dry_run, "a dry run within a dry run");
  dry_run = true;
}
DryRun::~DryRun() { dry_run = false; }
bool DryRun::on() { return dry_run; }

}  // namespace vlm2vec
