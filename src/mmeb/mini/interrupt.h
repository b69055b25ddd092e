// Ctrl-C and the terminate signal as an exception, so that a half-built folder is removed on the way out.
#pragma once
#include <csignal>

namespace vlm2vec::mini {

class InterruptGuard {  // while it lives, SIGINT and SIGTERM are only noted
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;

 private:
  struct sigaction interrupt_before_ = {}, terminate_before_ = {};
};

void throw_if_interrupted();  // Exit::failed after a signal that a living guard has noted

}  // namespace vlm2vec::mini
