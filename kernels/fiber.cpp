#include "kernels/fiber.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include "io/error.h"

#if !defined(__x86_64__) && !defined(VLM2VEC_PORTABLE_FIBERS)
#define VLM2VEC_PORTABLE_FIBERS
#endif

#if defined(VLM2VEC_PORTABLE_FIBERS)
#include <ucontext.h>

// As below, with a system call for each switch. What the registers held lies on the stack, too.
static void vlm2vec_emulator_switch(void** save, void* load) {
  ucontext_t here;
  *save = &here;
  swapcontext(&here, static_cast<ucontext_t*>(load));
}
#else
// Saves the six registers a function must preserve (System V ABI, x86-64) on the running stack, leaves its top in
// *save, and continues on the stack `load`. A system call per switch, as ucontext makes, would be ten times slower.
extern "C" void vlm2vec_emulator_switch(void** save, void* load);
asm(R"(
.text
.globl vlm2vec_emulator_switch
.type vlm2vec_emulator_switch, @function
vlm2vec_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size vlm2vec_emulator_switch, .-vlm2vec_emulator_switch
)");
#endif

namespace vlm2vec::emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t stack_bytes = 256 << 10;
#else
constexpr size_t stack_bytes = 64 << 10;
#endif
constexpr size_t page = 4096;

// Prepares a stack so that a switch to what this returns calls `entry`.
void* prepare(char* bottom, size_t bytes, void (*entry)()) {
#if defined(VLM2VEC_PORTABLE_FIBERS)
  auto* const start = reinterpret_cast<ucontext_t*>(bottom + bytes) - 1;
  getcontext(start);
  start->uc_stack.ss_sp = bottom, start->uc_stack.ss_size = bytes - sizeof(ucontext_t), start->uc_link = nullptr;
  makecontext(start, entry, 0);
  return start;
#else
  auto* slot = reinterpret_cast<void**>(bottom + bytes);
  *--slot = nullptr;                              // no caller; the stack is aligned as at a function's entry
  *--slot = reinterpret_cast<void*>(entry);       // popped by `ret`
  for (int i = 0; i < 6; ++i) *--slot = nullptr;  // the saved registers
  return slot;
#endif
}

}  // namespace

Fiber::Fiber(void (*entry)()) {
  void* p =
      mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) fail(Exit::resources, "emulator: no memory for the stack of one more thread");
  mapping = static_cast<char*>(p);
  mprotect(mapping, page, PROT_NONE);
  bottom = mapping + page, bytes = stack_bytes;
  top = prepare(mapping + page, stack_bytes, entry);
}

Fiber::~Fiber() {
  if (!mapping) return;
  ASAN_UNPOISON_MEMORY_REGION(mapping, page + stack_bytes);
  munmap(mapping, page + stack_bytes);
}

void switch_stack(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, to.bottom, to.bytes);
  vlm2vec_emulator_switch(&from.top, to.top);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  vlm2vec_emulator_switch(&from.top, to.top);
#endif
}

}  // namespace vlm2vec::emulator
