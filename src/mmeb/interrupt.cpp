#include "mmeb/interrupt.h"

#include <unistd.h>

namespace vlm2vec {
namespace {

volatile std::sig_atomic_t noted = 0, last = 0;

}  // namespace

InterruptGuard::InterruptGuard() {
  struct sigaction action = {};
  action.sa_handler = [](int signal) {
    noted = signal;
    last = signal;
    constexpr char text[] = "\nFinishing this step first. Press Ctrl-C again to quit at once, without saving.\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, sizeof text - 1);
  };
  action.sa_flags = int(SA_RESETHAND);
  sigaction(SIGINT, &action, &interrupt_before_);
  sigaction(SIGTERM, &action, &terminate_before_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &interrupt_before_, nullptr);
  sigaction(SIGTERM, &terminate_before_, nullptr);
  noted = 0;
}

bool interrupted() { return noted != 0; }
Exit interrupt_exit() { return Exit(128 + last); }

}  // namespace vlm2vec
