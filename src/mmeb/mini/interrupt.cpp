#include "mmeb/mini/interrupt.h"

#include "tensor/error.h"

namespace vlm2vec::mini {
namespace {

volatile std::sig_atomic_t interrupted = 0;
void note_interrupt(int) { interrupted = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  struct sigaction action = {};
  action.sa_handler = note_interrupt;
  sigaction(SIGINT, &action, &interrupt_before_);
  sigaction(SIGTERM, &action, &terminate_before_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &interrupt_before_, nullptr);
  sigaction(SIGTERM, &terminate_before_, nullptr);
  interrupted = 0;
}

void throw_if_interrupted() {
  if (interrupted) fail(Exit::failed, "data mini: interrupted; nothing was written");
}

}  // namespace vlm2vec::mini
