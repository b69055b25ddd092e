// Ctrl-C (SIGINT) and SIGTERM as a question that long work asks between its steps, to save or to clean up before it
// ends, and the exit status that says so.
#pragma once
#include <csignal>

#include "tensor/error.h"

namespace vlm2vec {

class InterruptGuard {  // while it lives, the first such signal is only noted; the second ends the program at once
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;

 private:
  struct sigaction interrupt_before_ = {}, terminate_before_ = {};
};

bool interrupted();     // a living guard has noted a signal
Exit interrupt_exit();  // 128 + the signal that was noted last, as shells have it: 130 after Ctrl-C, 143 after SIGTERM

}  // namespace vlm2vec
