// Ctrl-C (SIGINT) and SIGTERM as a question that long work asks between its steps, to save or to clean up before it
// ends.
#pragma once
#include <csignal>

namespace vlm2vec {

class InterruptGuard {  // while it lives, the first such signal is only noted; the second ends the program at once
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;

 private:
  struct sigaction interrupt_before_ = {}, terminate_before_ = {};
};

bool interrupted();  // a living guard has noted a signal

}  // namespace vlm2vec
