// The emulator's machine: the schedule, barriers, warp collectives and shared memory.
#include "kernels/emulator.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <exception>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "io/error.h"
#include "kernels/crew.h"
#include "kernels/async_copies.h"
#include "kernels/fiber.h"
#include "kernels/watcher.h"

namespace vlm2vec::emulator {

constinit thread_local Coordinates* self = nullptr;

namespace {

constexpr size_t arena_bytes = 256 << 10;
constexpr size_t shared_limit = 227 << 10;  // of one block on compute capability 9.0
constexpr size_t guard_bytes = 128;
constexpr unsigned char canary = 0xC7, uninitialised = 0xFF;  // 0xFFFF… is a NaN in every float format

struct Thread : Coordinates {
  Fiber* fiber = nullptr;  // none before the thread starts
  AsyncCopies copies;
  enum State { ready, at_barrier, in_collective, done } state = ready;
  Site waits_at;
  unsigned rank = 0;  // among ready threads the lowest runs next
};

// Where the lanes of a mask of one warp meet. Two sets of slots: a lane may bring its next value while others still
// read this one's, but nobody can be two meetings ahead.
struct Meeting {
  uint32_t mask = 0, arrived = 0;
  unsigned generation = 0;
  const char* operation = nullptr;
  Site site;
  Slot slots[2][32];
};

struct SharedArray {
  const void* key;
  size_t offset, bytes;
  Site site;
};

std::string where(const Site& site) {
  const std::string file = site.file_name();
  return sentence(file.substr(file.rfind('/') + 1), ":", site.line());
}
bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
bool same(const Site& a, const Site& b) {
  return a.line() == b.line() && same(a.file_name(), b.file_name());
}
std::string too_much_shared(size_t bytes) {
  return sentence("a block wants ", bytes, " bytes of shared memory; a GPU has ", shared_limit);
}
std::string text(Dim3 d) { return sentence("(", d.x, ", ", d.y, ", ", d.z, ")"); }

// Runs the blocks of one OS thread's launches.
class Machine {
 public:
  static Machine& here() {
    thread_local Machine machine;
    return machine;
  }

  void run(Dim3 grid, Dim3 block, size_t dynamic_bytes, const std::function<void()>& body, Part part) {
    if (self) fail(Exit::failed, "emulator: a kernel launched a kernel");
    if (block.count() == 0 || block.count() > 1024 || block.z > 64)
      fail(Exit::failed, "emulator: a block of ", text(block), " threads; 1 to 1024 are possible, at most 64 in z");
    if (grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535)
      fail(Exit::failed, "emulator: a grid of ", text(grid), " blocks; y and z may be 65535 at most");
    if (dynamic_bytes > shared_limit) fail(Exit::failed, "emulator: ", too_much_shared(dynamic_bytes));
    grid_ = grid, block_ = block, dynamic_bytes_ = dynamic_bytes, body_ = &body;
    const size_t threads = block.count();
    threads_.resize(threads), warps_.resize((threads + 31) / 32);
    std::vector<uint64_t> order(grid.count());
    for (size_t i = 0; i < order.size(); ++i) order[i] = schedule == Schedule::reversed ? order.size() - 1 - i : i;
    if (schedule == Schedule::random || schedule == Schedule::priority)
      random_.seed(seed), std::shuffle(order.begin(), order.end(), random_);
    for (uint64_t n = part.number; n < order.size(); n += part.count) run_block(order[n]);
    copied_bytes += std::exchange(copied_bytes_, 0);
  }

  void barrier(Site site) {
    Thread& me = current();
    me.state = Thread::at_barrier, me.waits_at = site;
    if (at_barrier_ == 0) first_at_barrier_ = &me;
    if (!same(first_at_barrier_->waits_at, site))
      stop("__syncthreads at ", where(site), " while thread ", first_at_barrier_->index, " waits in another one at ",
           where(first_at_barrier_->waits_at), "; all threads of a block must meet at the same one");
    if (++at_barrier_ == threads_.size()) {
      at_barrier_ = 0;
      if (watcher) watcher->pass_block_barrier();
      for (Thread& thread : threads_) make_ready(thread);
    }
    run_another();
  }

  // Brings a value and returns those of all lanes; the last lane to come changes them by `combine`.
  template <class T>
  Slot* meet(uint32_t& mask, const T& value, const char* operation, Site site, void (*combine)(Slot*) = nullptr) {
    Thread& me = current();
    const size_t warp = me.index / 32, lanes = std::min<size_t>(32, threads_.size() - 32 * warp);
    if (lanes < 32) mask &= (1u << lanes) - 1;
    if (!(mask >> me.lane() & 1)) stop(operation, " at ", where(site), ": lane ", me.lane(), " is not in its own mask");
    Meeting& meeting = meeting_of(warps_[warp], mask);
    if (meeting.arrived == 0) meeting.operation = operation, meeting.site = site;
    if (!same(meeting.operation, operation) || !same(meeting.site, site))
      stop("lanes of one warp met in ", meeting.operation, " at ", where(meeting.site), " and in ", operation, " at ",
           where(site), "; all lanes of the mask must take the same path");
    Slot* slots = meeting.slots[meeting.generation & 1];
    slots[me.lane()].as<T>() = value;
    meeting.arrived |= 1u << me.lane();
    me.state = Thread::in_collective, me.waits_at = site;
    if (meeting.arrived == mask) {
      if (watcher) watcher->pass_collective(mask);
      if (combine) combine(slots);
      meeting.arrived = 0, ++meeting.generation;
      for (size_t lane = 0; lane < lanes; ++lane)
        if (mask >> lane & 1) make_ready(threads_[32 * warp + lane]);
    }
    run_another();
    return slots;
  }

  void* shared_array(const void* key, size_t bytes, size_t align, Site site) {
    for (const SharedArray& a : arrays_)
      if (a.key == key) return arena_ + a.offset;
    const size_t offset = (arena_used_ + align - 1) / align * align;
    shared_bytes_ += bytes;
    if (shared_bytes_ > shared_limit || offset + bytes + guard_bytes > arena_bytes)
      stop(too_much_shared(shared_bytes_));
    ASAN_UNPOISON_MEMORY_REGION(arena_ + offset, bytes + guard_bytes);
    std::memset(arena_ + offset, uninitialised, bytes);
    std::memset(arena_ + offset + bytes, canary, guard_bytes);
    ASAN_POISON_MEMORY_REGION(arena_ + offset + bytes, guard_bytes);
    arena_used_ = offset + bytes + guard_bytes;
    arrays_.push_back({key, offset, bytes, site});
    if (watcher) watcher->make_shared(arena_ + offset, bytes, site);
    return arena_ + offset;
  }

  void copy_async(void* shared, const void* global, unsigned bytes, bool valid, Site site) {
    auto* const to = static_cast<unsigned char*>(shared);
    if (to < arena_ || to + bytes > arena_ + arena_used_)
      stop("cp.async at ", where(site), " does not write shared memory");
    if (uintptr_t(shared) % bytes || uintptr_t(global) % bytes)
      stop("cp.async at ", where(site), " has an address that is no multiple of ", bytes);
    if (watcher) watcher->begin_copy(shared, global, bytes, valid, site);
    copied_bytes_ += valid ? bytes : 0;
    current().copies.begin(shared, global, bytes, valid);
  }
  static void commit_copies() { current().copies.commit(); }
  static void wait_for_copies(unsigned groups_left) { current().copies.wait(groups_left); }

  // Thrown in a kernel, caught at the bottom of its fiber: it ends the launch.
  template <class... Parts>
  [[noreturn]] static void stop(const Parts&... parts) {
    fail(Exit::failed, "emulator: ", parts..., " (block ", text(self->block_idx), ", thread ", self->index, ")");
  }

 private:
  Machine() : memory_(std::make_unique<unsigned char[]>(arena_bytes + 1024)) {
    arena_ = memory_.get() + (1024 - reinterpret_cast<uintptr_t>(memory_.get()) % 1024);
  }
  ~Machine() { ASAN_UNPOISON_MEMORY_REGION(arena_, arena_bytes); }

  static Thread& current() { return *static_cast<Thread*>(self); }

  void run_block(uint64_t number) {
    const uint64_t row = number / grid_.x;
    const Dim3 block_idx(unsigned(number % grid_.x), unsigned(row % grid_.y), unsigned(row / grid_.y));
    ASAN_POISON_MEMORY_REGION(arena_, arena_bytes);
    arrays_.clear();
    arena_used_ = shared_bytes_ = at_barrier_ = 0;
    if (watcher) watcher->begin_block(arena_, arena_bytes, block_);
    for (unsigned i = 0; i < threads_.size(); ++i) {
      Thread& t = threads_[i];
      t = Thread{.copies = std::move(t.copies)};  // keeps its memory
      t.copies.clear();
      t.thread_idx = Dim3(i % block_.x, i / block_.x % block_.y, i / block_.x / block_.y);
      t.block_idx = block_idx, t.block_dim = block_, t.grid_dim = grid_, t.index = i;
      t.rank = schedule == Schedule::reversed ? unsigned(threads_.size()) - 1 - i : i;
    }
    if (schedule == Schedule::priority) draw_ranks();
    ready_.assign((threads_.size() + 63) / 64, 0), by_rank_.resize(64 * ready_.size());
    for (Thread& t : threads_) by_rank_[t.rank] = &t, make_ready(t);
    self = next();
    if (dynamic_bytes_) shared_array(nullptr, dynamic_bytes_, 1024, Site());
    switch_stack(main_, *current().fiber);
    const std::string complaint = error_ ? "" : stall() + overrun();
    if (!error_ && complaint.empty()) return;
    free_.clear(), fibers_.clear(), warps_.clear();  // abandons what still waits
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    fail(Exit::failed, "emulator: ", complaint, " (block ", text(block_idx), ")");
  }

  // Orders the warps at random, and the lanes of each.
  void draw_ranks() {
    std::vector<std::pair<uint64_t, Thread*>> order;
    uint64_t warp = 0;
    for (Thread& t : threads_) {
      if (t.lane() == 0) warp = random_() << 32;
      order.emplace_back(warp | uint32_t(random_()), &t);
    }
    std::sort(order.begin(), order.end());
    for (unsigned rank = 0; rank < order.size(); ++rank) order[rank].second->rank = rank;
  }

  // A finished thread's fiber takes the next thread that has not started: a kernel without barriers is a plain loop.
  static void fiber_main() {
    Machine& machine = here();
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
    if (!machine.main_.bottom) machine.main_.bottom = bottom, machine.main_.bytes = bytes;
#endif
    for (;;) {
      try {
        (*machine.body_)();
        if (!current().copies.empty()) stop("a thread ends while a cp.async of it is under way");
      } catch (...) {
        machine.error_ = std::current_exception();
      }
      current().state = Thread::done;
      machine.free_.push_back(current().fiber);
      if (machine.error_) std::ranges::fill(machine.ready_, 0);  // nobody else runs
      machine.run_another();
    }
  }

  // Hands over to the next ready thread; returns once the calling thread is picked again or, if it has finished, once
  // its fiber was given another thread. With nobody ready the block is done, or stuck.
  void run_another() {
    Fiber& mine = *current().fiber;
    Thread* thread = next();
    self = thread;
    Fiber& to = thread ? *thread->fiber : main_;
    if (&to != &mine) switch_stack(mine, to);
  }

  Thread* next() {
    size_t word = 0;  // the search begins at rank 64·word + first
    int first = 0;
    if (schedule == Schedule::random) {
      const uint64_t start = random_();
      word = start / 64 % ready_.size(), first = int(start % 64);
    }
    for (size_t passed = 0; !ready_[word]; word = word + 1 < ready_.size() ? word + 1 : 0)
      if (++passed == ready_.size()) return nullptr;
    const int bit = (std::countr_zero(std::rotr(ready_[word], first)) + first) % 64;
    ready_[word] &= ~(uint64_t(1) << bit);
    Thread* thread = by_rank_[64 * word + size_t(bit)];
    if (!thread->fiber) {
      if (free_.empty()) free_.push_back(&fibers_.emplace_back(fiber_main));
      thread->fiber = free_.back();
      free_.pop_back();
    }
    return thread;
  }

  void make_ready(Thread& t) {
    t.state = Thread::ready;
    ready_[t.rank / 64] |= uint64_t(1) << (t.rank % 64);
  }

  static Meeting& meeting_of(std::deque<Meeting>& warp, uint32_t mask) {
    for (Meeting& m : warp)
      if (m.mask == mask) return m;
    warp.emplace_back().mask = mask;
    return warp.back();
  }

  // What keeps the block from ending: empty if all threads have returned.
  std::string stall() const {
    unsigned count[4] = {};
    const Thread* waiting = nullptr;
    for (const Thread& t : threads_) {
      ++count[t.state];
      if (t.state != Thread::done && !waiting) waiting = &t;
    }
    if (!waiting) return "";
    return sentence(waiting->state == Thread::at_barrier ? "__syncthreads" : "a warp collective", " at ",
                    where(waiting->waits_at), " waits for ever: of ", threads_.size(), " threads ",
                    count[Thread::at_barrier], " wait in __syncthreads, ", count[Thread::in_collective],
                    " in warp collectives, ", count[Thread::done], " have returned");
  }

  // Which shared array was written past its end, if any.
  std::string overrun() const {
    for (const SharedArray& a : arrays_) {
      unsigned char* guard = arena_ + a.offset + a.bytes;
      ASAN_UNPOISON_MEMORY_REGION(guard, guard_bytes);
      const auto* touched = std::find_if(guard, guard + guard_bytes, [](unsigned char c) { return c != canary; });
      if (touched != guard + guard_bytes)
        return sentence("a write ", touched - guard, " bytes past the end of the ",
                        a.key ? "shared array declared at " + where(a.site) : "dynamic shared memory", ", which is ",
                        a.bytes, " bytes long");
    }
    return "";
  }

  Dim3 grid_, block_;
  size_t dynamic_bytes_ = 0;
  uint64_t copied_bytes_ = 0;  // in this launch
  const std::function<void()>* body_ = nullptr;
  std::mt19937_64 random_;

  std::vector<Thread> threads_;
  std::vector<std::deque<Meeting>> warps_;
  std::vector<uint64_t> ready_;  // a bit for each rank
  std::vector<Thread*> by_rank_;
  size_t at_barrier_ = 0;
  const Thread* first_at_barrier_ = nullptr;
  std::exception_ptr error_;

  Fiber main_;
  std::deque<Fiber> fibers_;
  std::vector<Fiber*> free_;

  std::unique_ptr<unsigned char[]> memory_;
  unsigned char* arena_;
  size_t arena_used_ = 0, shared_bytes_ = 0;
  std::vector<SharedArray> arrays_;
};

}  // namespace

void run(Dim3 grid, Dim3 block, size_t dynamic_shared_bytes, const std::function<void()>& body) {
  ++launches;
  share_blocks(grid.count(), [&](Part part) { Machine::here().run(grid, block, dynamic_shared_bytes, body, part); });
}

void block_barrier(Site site) { Machine::here().barrier(site); }

void warp_barrier(uint32_t mask, Site site) {
  Machine::here().meet(mask, mask, "__syncwarp", site, [](Slot* lanes) {
    if (watcher) watcher->pass_warp_barrier(lanes[self->lane()].as<uint32_t>());
  });
}

uint64_t shuffle(uint32_t mask, uint64_t value, int source, const char* operation, Site site) {
  Slot* slots = Machine::here().meet(mask, value, operation, site);
  if (!(mask >> source & 1))
    Machine::stop(operation, " at ", where(site), " reads lane ", source, ", which is not in the mask");
  return slots[source].as<uint64_t>();
}

uint32_t ballot(uint32_t mask, bool vote, Site site) {
  Slot* slots = Machine::here().meet(mask, vote, "__ballot_sync", site);
  uint32_t votes = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) votes |= uint32_t(slots[lane].as<bool>()) << lane;
  return votes;
}

void copy_async(void* shared, const void* global, unsigned bytes, bool valid, Site site) {
  Machine::here().copy_async(shared, global, bytes, valid, site);
}
void commit_copies() { Machine::commit_copies(); }
void wait_for_copies(unsigned groups_left) { Machine::wait_for_copies(groups_left); }

Slot* meet_warp(const Slot& mine, const char* operation, Site site, void (*combine)(Slot*)) {
  uint32_t all = ~0u;
  return Machine::here().meet(all, mine, operation, site, combine);
}
void stop(const std::string& complaint, Site site) { Machine::stop(complaint, " at ", where(site)); }

void* shared_array(const void* key, size_t bytes, size_t align, Site site) {
  return Machine::here().shared_array(key, bytes, std::max<size_t>(align, 16), site);
}
void* dynamic_shared_array() { return Machine::here().shared_array(nullptr, 0, 1024, Site()); }

}  // namespace vlm2vec::emulator
