// Stacks between which one OS thread switches: each emulated GPU thread that waits has its own.
#pragma once
#include <cstddef>

namespace vlm2vec::emulator {

// A stack and where on it we stopped. The OS thread's own stack is one too; its bounds are learnt on leaving it.
struct Fiber {
  void* top = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
  char* mapping = nullptr;  // an inaccessible page, then the stack

  Fiber() = default;
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
};

void switch_stack(Fiber& from, Fiber& to);

}  // namespace vlm2vec::emulator
