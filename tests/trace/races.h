// Looks for races: two accesses of one byte, at least one of them a write, that no barrier orders.
//
// An access comes after an earlier one if the same thread made both, or if a __syncthreads of the block or a __syncwarp
// of both lanes lies between them. Shuffles, votes and products order nothing, as CUDA says. Two blocks of one launch
// are never ordered; launches are. Two atomic additions do not clash. A cp.async writes from its call to its wait: in
// between nobody may touch the place.
#pragma once
#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "places.h"

namespace vlm2vec::trace {

// When a thread did something: the barriers that it had passed.
struct Mark {
  uint32_t block = 0;  // over all launches, from 1 on; 0: nobody
  uint16_t thread = 0;
  bool copying = false;  // a cp.async that is under way
  uint32_t block_time = 0, warp_time = 0;
  Place place = 0;
  bool atomic = false;
};

class Races {
 public:
  struct Found {
    const char* what;  // "write, then read"
    Place first, second;
    bool operator<(const Found& other) const;
  };
  using Counts = std::map<Found, uint64_t>;  // accesses

  void begin_launch(size_t threads);
  void begin_block();
  void pass_block_barrier() { ++block_time_; }
  void pass_warp_barrier(unsigned warp, uint32_t lanes);
  void access(uintptr_t memory, size_t bytes, bool write, bool shared, unsigned thread, Place place,
              bool atomic = false);
  void begin_copy(uintptr_t shared, unsigned bytes, unsigned thread, Place place);
  void end_copy(uintptr_t shared, unsigned bytes, unsigned thread);
  const Counts& found() const { return found_; }
  void clear() { found_.clear(); }

 private:
  // What is known of a byte. Two of many readers are enough: the last one, and one from as far away as possible.
  struct Cell {
    Mark write, read, other_read;
  };
  static constexpr uintptr_t page = 4096;
  Cell& cell(uintptr_t byte);
  Mark mark(unsigned thread, Place place) const;
  bool ordered(const Mark& earlier, const Mark& now, bool shared) const;
  const Mark* clash(Cell& cell, bool write, bool shared, const Mark& now, const char*& what) const;
  int distance(const Mark& earlier, const Mark& now, bool shared) const;
  void keep_reader(Cell& cell, const Mark& now, bool shared) const;

  std::unordered_map<uintptr_t, std::unique_ptr<std::array<Cell, page>>> pages_;
  uintptr_t last_page_ = 0;
  std::array<Cell, page>* last_cells_ = nullptr;
  uint32_t block_ = 0, first_block_of_launch_ = 1, block_time_ = 0;
  std::vector<uint32_t> warp_time_;              // by thread
  std::vector<std::array<uint32_t, 32>> knows_;  // by thread: the times of its warp's lanes that lie before it
  Counts found_;
};

}  // namespace vlm2vec::trace
