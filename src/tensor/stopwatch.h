// Measures wall-clock seconds.
#pragma once
#include <chrono>

namespace vlm2vec {

class Stopwatch {
 public:
  // Returns the seconds since the last call, or since construction.
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
