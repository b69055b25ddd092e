// Seconds between two moments, by the clock on the wall.
#pragma once
#include <chrono>

namespace vlm2vec {

class Stopwatch {
 public:
  // Since the last call, or since it was made.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace vlm2vec
