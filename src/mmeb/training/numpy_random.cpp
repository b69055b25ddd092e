#include "mmeb/training/numpy_random.h"

#include <array>
#include <bit>
#include <cstddef>

namespace vlm2vec {
namespace {

using Wide = unsigned __int128;
constexpr Wide kMultiplier = Wide(0x2360ED051FC65DA4u) << 64 | 0x4385DF649FCCF645u;

uint32_t fold(uint32_t x) { return x ^ x >> 16; }

// Hashes one word after another; each word changes the constant.
struct Hash {
  uint32_t constant, factor;
  uint32_t operator()(uint32_t word) {
    word ^= constant;
    constant *= factor;
    return fold(word * constant);
  }
};

// SeedSequence(seed).generate_state(4, uint64): mixes the seed's words into a pool of four and draws eight 32-bit words
// from it.
std::array<uint64_t, 4> seed_sequence(uint64_t seed) {
  Hash in{0x43B0D7E5u, 0x931E8875u}, out{0x8B51F9DDu, 0x58F38DEDu};
  std::array<uint32_t, 4> pool = {uint32_t(seed), uint32_t(seed >> 32), 0, 0};
  for (uint32_t& word : pool) word = in(word);
  for (size_t from = 0; from < 4; ++from)
    for (size_t to = 0; to < 4; ++to)
      if (from != to) pool[to] = fold(0xCA01F9DDu * pool[to] - 0x4973F715u * in(pool[from]));
  std::array<uint64_t, 4> state;
  for (size_t i = 0; i < 4; ++i) {
    const uint64_t low = out(pool[2 * i % 4]);
    state[i] = low | uint64_t(out(pool[(2 * i + 1) % 4])) << 32;
  }
  return state;
}

}  // namespace

NumpyRandom::NumpyRandom(uint64_t seed) {
  const auto s = seed_sequence(seed);
  increment_ = (Wide(s[2]) << 64 | s[3]) << 1 | 1;
  state_ = (increment_ + (Wide(s[0]) << 64 | s[1])) * kMultiplier + increment_;
}

uint64_t NumpyRandom::bits() {
  state_ = state_ * kMultiplier + increment_;
  return std::rotr(uint64_t(state_ >> 64) ^ uint64_t(state_), int(state_ >> 122));
}

}  // namespace vlm2vec
