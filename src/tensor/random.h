// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011). The n-th number of a stream depends on the key and
// n alone: the same key gives the same numbers on every device, in every order, for any chunking.
#pragma once
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"

namespace vlm2vec {

struct Philox {
  uint32_t key[2];
  HOST_DEVICE explicit Philox(uint64_t seed) : key{uint32_t(seed), uint32_t(seed >> 32)} {}

  struct Block {
    uint32_t word[4];
  };
  HOST_DEVICE Block operator()(uint64_t low, uint64_t high = 0) const {
    uint32_t c[4] = {uint32_t(low), uint32_t(low >> 32), uint32_t(high), uint32_t(high >> 32)}, k0 = key[0],
             k1 = key[1];
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
      const uint32_t next[4] = {uint32_t(p1 >> 32) ^ c[1] ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k1,
                                uint32_t(p0)};
      for (int i = 0; i < 4; ++i) c[i] = next[i];
      k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    return {{c[0], c[1], c[2], c[3]}};
  }
};

// Returns a number in [0, 1) of 24 bits.
HOST_DEVICE inline float uniform(uint32_t word) { return float(word >> 8) * 0x1p-24f; }

// Makes one key from two numbers (splitmix64 steps).
inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a + 0x9E3779B97F4A7C15u * (b + 1);
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

// A sequential reader of one stream, for the host: uniform integers, shuffles, normal numbers.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t position = 0)
      : philox_(seed), position_(position), block_(philox_(position / 4)) {}
  uint32_t word() {
    if (position_ % 4 == 0) block_ = philox_(position_ / 4);
    return block_.word[position_++ % 4];
  }
  uint32_t below(uint32_t n) {  // unbiased (Lemire 2019)
    uint64_t m = uint64_t(word()) * n;
    if (uint32_t(m) < n)
      for (const uint32_t threshold = -n % n; uint32_t(m) < threshold;) m = uint64_t(word()) * n;
    return uint32_t(m >> 32);
  }
  double normal() {  // Box and Muller 1958
    const double u = (word() + 1.0) * 0x1p-32, v = word() * 0x1p-32;
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  }
  template <class Items>
  void shuffle(Items& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(uint32_t(i))]);
  }

 private:
  Philox philox_;
  uint64_t position_;    // words taken so far
  Philox::Block block_;  // holds the next word, unless that word begins a new block
};

}  // namespace vlm2vec
