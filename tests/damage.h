// Files as accidents leave them: a reader must read or refuse them, within honest memory.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "allocations.h"
#include "io/error.h"
#include "tensor/random.h"

namespace vlm2vec {

struct Damage {
  int read = 0, refused = 0;
};

// Calls `read` with 200 copies of `whole` in which one to three bytes are replaced or have one bit flipped, by turns,
// and 50 that are cut off. It may return, or throw an Error whose sentence has one line; all else fails the test, and
// so does a peak of allocations beyond twice `honest(copy)` bytes (and 64 KB for sentences). Without `honest`: what
// reading `whole` takes.
inline Damage damage(const std::string& whole, uint64_t seed, const std::function<void(const std::string& bytes)>& read,
                     std::function<int64_t(const std::string& bytes)> honest = {}) {
  reset_peak_allocated();
  read(whole);
  const int64_t intact = peak_allocated();
  if (!honest) honest = [](const std::string&) { return int64_t(0); };
  Damage counts;
  Random random(seed);
  for (int i = 0; i < 250; ++i) {
    std::string bytes = whole;
    if (i < 200) {
      const int flips = 1 + int(random.below(3));
      for (int flip = 0; flip < flips; ++flip) {
        char& byte = bytes[random.below(uint32_t(bytes.size()))];
        byte = i % 2 ? char(byte ^ 1 << random.below(8)) : char(random.below(256));
      }
    } else {
      bytes.resize(random.below(uint32_t(bytes.size())));
    }
    const int64_t limit = 2 * std::max(intact, honest(bytes)) + (64 << 10);
    reset_peak_allocated();
    try {
      read(bytes);
      ++counts.read;
    } catch (const Error& error) {
      ++counts.refused;
      const std::string sentence = error.what();
      EXPECT_FALSE(sentence.empty() || sentence.find('\n') != sentence.npos) << "copy " << i << ": " << sentence;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "copy " << i << " (seed " << seed << "): not an Error: " << error.what();
    }
    if (allocations_are_counted) {
      EXPECT_LE(peak_allocated(), limit) << "copy " << i << " (seed " << seed << ")";
    }
  }
  return counts;
}

}  // namespace vlm2vec
