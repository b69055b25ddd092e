#include "io/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace vlm2vec {
namespace {

std::atomic<int> noted = 0, last = 0;
static_assert(std::atomic<int>::is_always_lock_free);

}  // namespace

InterruptGuard::InterruptGuard() {
  struct sigaction action = {}, ignored = {};
  action.sa_handler = [](int signal) {
    const int error = errno;
    noted = signal;
    last = signal;
    // A closing terminal sends several SIGHUPs: only a second SIGINT or SIGTERM is an order to end at once.
    if (signal != SIGHUP) std::signal(SIGINT, SIG_DFL), std::signal(SIGTERM, SIG_DFL);
    constexpr char text[] = "\nStopping as soon as that is safe. Press Ctrl-C again to quit at once, without saving.\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text, sizeof text - 1);
    errno = error;
  };
  ignored.sa_handler = SIG_IGN;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], kSignals[i] == SIGPIPE ? &ignored : &action, &before_[i]);
    if (before_[i].sa_handler == SIG_IGN) sigaction(kSignals[i], &before_[i], nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  noted = 0;
}

bool interrupted() { return noted != 0; }
Exit interrupt_exit() { return Exit(128 + last); }

}  // namespace vlm2vec
