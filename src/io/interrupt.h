// Ctrl-C (SIGINT), SIGTERM and SIGHUP as a flag that long work reads between its steps, to save or to clean up before
// it ends; and the exit status of an interrupted run.
#pragma once
#include <array>
#include <csignal>

#include "io/error.h"

namespace vlm2vec {

// While a guard lives, the first such signal is only noted. After a SIGINT or SIGTERM, the next one ends the program at
// once. Signals that were ignored before (nohup, a shell's background job) stay so. SIGPIPE is ignored: the reader of
// the messages (tee, ssh) may be gone before the work is saved.
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
