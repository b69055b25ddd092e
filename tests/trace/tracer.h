// Watches every access of the traced kernels. They are compiled with -fsanitize=thread: the compiler calls a function
// before each access, and tracer.cpp has these functions, in place of ThreadSanitizer's.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "accesses.h"
#include "kernels/watcher.h"
#include "races.h"

namespace vlm2vec::trace {

struct Line {
  std::string where;  // "norm.cu:21"
  Kind kind;
  Cost cost;
};
struct Clash {
  std::string what, first, second;  // "write, then read" and their lines
  uint64_t accesses;
};

// What one or more launches did.
struct Trace {
  std::vector<Line> lines;
  std::vector<Clash> races;
  std::map<std::string, uint64_t> outside;   // accesses of no tensor and no shared array, by line
  std::map<std::string, uint64_t> products;  // of tensor cores, by line
  Cost total(Kind kind) const;
  uint64_t conflicts() const;             // wavefronts above the ideal
  double well_moved(double limit) const;  // share of the global bytes at lines with at most limit · ideal sectors
  uint64_t all_products() const;
};

class Tracer : public emulator::Watcher {
 public:
  static Tracer& here();  // installs itself as the watcher
  Trace take();           // what was seen since the last call
  void access(const void* memory, size_t bytes, bool write, Place place);

  void begin_block(const void* shared, size_t bytes, emulator::Dim3 size) override;
  void make_shared(const void* array, size_t bytes, emulator::Site site) override;
  void pass_block_barrier() override;
  void pass_collective(uint32_t lanes) override;
  void pass_warp_barrier(uint32_t lanes) override { races_.pass_warp_barrier(emulator::self->index / 32, lanes); }
  void access(const void* memory, size_t bytes, bool write, emulator::Site site) override;
  void add_atomically(const void* global, size_t bytes, emulator::Site site) override;
  void begin_copy(const void* shared, const void* global, unsigned bytes, bool valid, emulator::Site site) override;
  void end_copy(const void* shared, unsigned bytes) override;
  void multiply(emulator::Site site) override { ++products_[places_.of(site)]; }
  void use_memory(const void* global, size_t bytes, bool in_use) override;

  bool is_shared_memory(uintptr_t memory) const { return memory - shared_begin_ < shared_bytes_; }
  Places& places() { return places_; }

 private:
  bool count(uintptr_t memory, size_t bytes, bool write, Place place);
  using Ranges = std::map<uintptr_t, uintptr_t>;  // ends by beginnings
  static bool within(const Ranges& ranges, uintptr_t memory, size_t bytes);

  Places places_;
  Races races_;
  Accesses accesses_;
  Ranges tensors_, arrays_;
  std::map<Place, uint64_t> outside_, products_;
  uintptr_t shared_begin_ = 0, shared_bytes_ = 0;
  size_t threads_ = 0;   // of a block
  uint64_t launch_ = 0;  // now running
};

}  // namespace vlm2vec::trace
