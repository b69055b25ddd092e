// Finds a list's entry by its key: open addressing with linear probing (Knuth, vol. 3, section 6.4). The list stays
// with the caller; a slot holds an entry's number, so that a million look-ups miss the cache about once each.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

namespace vlm2vec {

class HashIndex {
 public:
  static constexpr int32_t none = -1;
  explicit HashIndex(size_t entries = 0) : slots_(std::bit_ceil(2 * entries + 2), none) {}

  // Returns the entry of this hash for which equal(entry) holds, or none.
  template <class Equal>
  int32_t find(uint64_t hash, Equal equal) const {
    return slots_[slot_of(hash, equal)];
  }
  // Replaces an equal entry. Must not get more entries than the constructor was told.
  template <class Equal>
  void insert(uint64_t hash, int32_t entry, Equal equal) {
    slots_[slot_of(hash, equal)] = entry;
  }

 private:
  template <class Equal>
  size_t slot_of(uint64_t hash, Equal equal) const {
    const int bits = std::countr_zero(slots_.size());
    size_t slot = hash * 0x9E3779B97F4A7C15u >> (64 - bits);  // Fibonacci hashing: the upper bits are the mixed ones
    while (slots_[slot] != none && !equal(slots_[slot])) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  std::vector<int32_t> slots_;
};

}  // namespace vlm2vec
