// Waiting for another thread, which fails instead of lasting for ever.
#pragma once
#include <chrono>
#include <thread>

namespace vlm2vec {

template <class Condition>
bool wait_until(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace vlm2vec
