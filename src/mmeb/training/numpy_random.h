// The stream of NumPy's default_rng(seed), by which the official code draws data sets: NumPy's SeedSequence seeds PCG64
// (O'Neill 2014, pcg-random.org: 128 bits of state, XSL-RR output).
#pragma once
#include <cstdint>

namespace vlm2vec {

class NumpyRandom {
 public:
  explicit NumpyRandom(uint64_t seed);
  uint64_t bits();                                             // like Generator.bit_generator.random_raw()
  double uniform() { return double(bits() >> 11) * 0x1p-53; }  // in [0, 1), like Generator.random()

 private:
  unsigned __int128 state_, increment_;
};

}  // namespace vlm2vec
