// Ctrl-C (SIGINT), SIGTERM and SIGHUP as a question that long work asks between its steps, to save or to clean up
// before it ends, and the exit status that says so.
#pragma once
#include <array>
#include <csignal>

#include "io/error.h"

namespace vlm2vec {

// While it lives, the first such signal is only noted. After a SIGINT or SIGTERM, either of them ends the program at
// once. Signals
// that were ignored before (nohup, a shell's background job) stay so. SIGPIPE is ignored: who reads the messages (tee,
// ssh) may be gone before the work is saved.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
  std::array<struct sigaction, kSignals.size()> before_ = {};
};

bool interrupted();     // a living guard has noted a signal
Exit interrupt_exit();  // 128 + the signal that was noted last, as shells have it: 130 after Ctrl-C, 143 after SIGTERM

}  // namespace vlm2vec
