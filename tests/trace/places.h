// Where in the source an access stands: what the compiler or the emulator says of it, and the line that comes of it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/emulator.h"

namespace vlm2vec::trace {

using Place = uint32_t;

// Numbers for places, in order of their first use. Lines are looked up at the end, all at once, by addr2line.
class Places {
 public:
  Place of(const void* return_address);                         // of a call that the compiler put before an access
  Place of(const emulator::Site& site);                         // of a call of the emulator
  uintptr_t order(Place place) const { return order_[place]; }  // in the code; calls of the emulator come last
  const std::string& line(Place place);                         // "norm.cu:21"; without debug information the address
  size_t count() const { return lines_.size(); }

 private:
  void look_up();
  std::map<uintptr_t, Place> by_address_;
  std::map<std::pair<const char*, unsigned>, Place> by_site_;
  std::vector<std::string> lines_;  // empty: not yet looked up
  std::vector<uintptr_t> order_;    // the address of the call, if the compiler put it
};

}  // namespace vlm2vec::trace
