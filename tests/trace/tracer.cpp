#include "tracer.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "kernels/device_memory.h"

namespace vlm2vec::trace {

Cost Trace::total(Kind kind) const {
  Cost sum;
  for (const Line& line : lines)
    if (line.kind == kind) sum += line.cost;
  return sum;
}

uint64_t Trace::conflicts() const {
  uint64_t sum = 0;
  for (const Line& line : lines)
    if (is_shared(line.kind)) sum += line.cost.units - line.cost.ideal;
  return sum;
}

double Trace::well_moved(double limit) const {
  uint64_t good = 0, all = 0;
  for (const Line& line : lines) {
    if (is_shared(line.kind)) continue;
    all += line.cost.bytes;
    if (double(line.cost.units) <= limit * double(line.cost.ideal)) good += line.cost.bytes;
  }
  return all == 0 ? 1 : double(good) / double(all);
}

uint64_t Trace::all_products() const {
  uint64_t sum = 0;
  for (const auto& [line, count] : products) sum += count;
  return sum;
}

Tracer& Tracer::here() {
  static Tracer* tracer = new Tracer;  // never destroyed: tensors may outlive it
  emulator::watcher = tracer;
  return *tracer;
}

Trace Tracer::take() {
  accesses_.meet_all();
  std::map<std::pair<std::string, Kind>, Cost> costs;
  for (const auto& [at, cost] : accesses_.costs()) costs[{places_.line(at.first), at.second}] += cost;
  std::map<std::tuple<std::string, std::string, std::string>, uint64_t> clashes;
  for (const auto& [race, count] : races_.found())
    clashes[{race.what, places_.line(race.first), places_.line(race.second)}] += count;
  Trace trace;
  for (const auto& [at, cost] : costs) trace.lines.push_back({at.first, at.second, cost});
  for (const auto& [at, count] : clashes)
    trace.races.push_back({std::get<0>(at), std::get<1>(at), std::get<2>(at), count});
  for (const auto& [place, count] : outside_) trace.outside[places_.line(place)] += count;
  for (const auto& [place, count] : products_) trace.products[places_.line(place)] += count / 32;
  accesses_.clear(), races_.clear(), outside_.clear(), products_.clear();
  return trace;
}

void Tracer::begin_block(const void* shared, size_t bytes, emulator::Dim3 size) {
  shared_begin_ = reinterpret_cast<uintptr_t>(shared), shared_bytes_ = bytes, threads_ = size.count();
  arrays_.clear();
  accesses_.begin_block(threads_);
  if (std::exchange(launch_, emulator::launches) != emulator::launches) races_.begin_launch(threads_);
  races_.begin_block();
}

void Tracer::pass_block_barrier() {
  races_.pass_block_barrier();
  accesses_.meet_all();
}
void Tracer::pass_collective(uint32_t lanes) {
  const unsigned warp = emulator::self->index / 32;
  const size_t in_warp = std::min<size_t>(32, threads_ - 32 * warp);
  if (lanes == (in_warp == 32 ? ~0u : (1u << in_warp) - 1)) accesses_.meet(warp);
}

void Tracer::make_shared(const void* array, size_t bytes, emulator::Site) {
  const auto begin = reinterpret_cast<uintptr_t>(array);
  arrays_[begin] = begin + bytes;
}

void Tracer::use_memory(const void* global, size_t bytes, bool in_use) {
  const auto begin = reinterpret_cast<uintptr_t>(global);
  if (in_use) tensors_[begin] = begin + bytes;
  else tensors_.erase(begin);
}

bool Tracer::within(const Ranges& ranges, uintptr_t memory, size_t bytes) {
  const auto next = ranges.upper_bound(memory);
  return next != ranges.begin() && memory + bytes <= std::prev(next)->second;
}

// Counts an access of shared or of global memory; others, of the thread's own variables, do not count.
bool Tracer::count(uintptr_t memory, size_t bytes, bool write, Place place) {
  const bool shared = is_shared_memory(memory);
  const Kind kind =
      shared ? (write ? Kind::shared_write : Kind::shared_read) : (write ? Kind::global_write : Kind::global_read);
  accesses_.add(place, places_.order(place), kind, emulator::self->index, memory, bytes);
  const bool inside = within(shared ? arrays_ : tensors_, memory, bytes);
  if (!inside) ++outside_[place];
  return inside;
}

void Tracer::access(const void* memory, size_t bytes, bool write, Place place) {
  const auto at = reinterpret_cast<uintptr_t>(memory);
  if (count(at, bytes, write, place))
    races_.access(at, bytes, write, is_shared_memory(at), emulator::self->index, place);
}
void Tracer::access(const void* memory, size_t bytes, bool write, emulator::Site site) {
  access(memory, bytes, write, places_.of(site));
}

void Tracer::add_atomically(const void* global, size_t bytes, emulator::Site site) {
  const Place place = places_.of(site);
  const auto at = reinterpret_cast<uintptr_t>(global);
  if (count(at, bytes, true, place)) races_.access(at, bytes, true, false, emulator::self->index, place, true);
}
void Tracer::begin_copy(const void* shared, const void* global, unsigned bytes, bool valid, emulator::Site site) {
  const Place place = places_.of(site);
  if (valid) access(global, bytes, false, place);
  const auto at = reinterpret_cast<uintptr_t>(shared);
  if (count(at, bytes, true, place)) races_.begin_copy(at, bytes, emulator::self->index, place);
}
void Tracer::end_copy(const void* shared, unsigned bytes) {
  races_.end_copy(reinterpret_cast<uintptr_t>(shared), bytes, emulator::self->index);
}

namespace {

// Is the memory a block's or a tensor's? Kernels have variables of their own, too, and host code runs here as well.
bool counts(const void* memory) {
  if (!emulator::self || !emulator::watcher) return false;
  const auto at = reinterpret_cast<uintptr_t>(memory);
  return static_cast<Tracer*>(emulator::watcher)->is_shared_memory(at) ||
         at - (emulator::region_begin + uintptr_t(emulator::to_visible)) < uintptr_t(emulator::region_bytes);
}

void note(const void* memory, size_t bytes, bool write, const void* return_address) {
  if (!counts(memory)) return;
  auto& tracer = *static_cast<Tracer*>(emulator::watcher);
  tracer.access(memory, bytes, write, tracer.places().of(return_address));
}

// A thread of a GPU moves at most 16 bytes at once.
void note_range(const void* memory, size_t bytes, bool write, const void* return_address) {
  for (auto* at = static_cast<const char*>(memory); bytes > 0;) {
    const size_t piece = std::min<size_t>(bytes, 16);
    note(at, piece, write, return_address);
    at += piece, bytes -= piece;
  }
}

}  // namespace
}  // namespace vlm2vec::trace

// ---- what the compiler calls ----------------------------------------------------------------------------------------
#define ACCESS(name, bytes, write)                                           \
  extern "C" void __tsan_##name(void* memory) {                              \
    vlm2vec::trace::note(memory, bytes, write, __builtin_return_address(0)); \
  }
#define ACCESSES(bytes)                       \
  ACCESS(read##bytes, bytes, false)           \
  ACCESS(write##bytes, bytes, true)           \
  ACCESS(unaligned_read##bytes, bytes, false) \
  ACCESS(unaligned_write##bytes, bytes, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
extern "C" void __tsan_read_range(void* memory, size_t bytes) {
  vlm2vec::trace::note_range(memory, bytes, false, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* memory, size_t bytes) {
  vlm2vec::trace::note_range(memory, bytes, true, __builtin_return_address(0));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" int __tsan_atomic32_fetch_add(int* number, int by, int) {
  return __atomic_fetch_add(number, by, __ATOMIC_SEQ_CST);
}
extern "C" char __tsan_atomic8_load(const char* number, int) { return __atomic_load_n(number, __ATOMIC_SEQ_CST); }
