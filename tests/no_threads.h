// A system that has no second thread to give, for programs that are started in it.
#pragma once
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <thread>

namespace vlm2vec {

// Makes `clone` fail (EAGAIN) where it would begin a thread, in the calling thread and in the programs that it starts.
// clone3, whose arguments a filter cannot see, is said to be missing: the C library then takes clone. See seccomp(2).
inline void refuse_threads() {
  const auto when = [](uint32_t call, uint8_t else_skip) -> sock_filter {
    return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, else_skip);
  };
  const auto load = [](uint32_t at) -> sock_filter { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at); };
  const auto answer = [](uint32_t with) -> sock_filter { return BPF_STMT(BPF_RET | BPF_K, with); };
  sock_filter filter[] = {load(offsetof(seccomp_data, nr)),   when(SYS_clone3, 1),
                          answer(SECCOMP_RET_ERRNO | ENOSYS), when(SYS_clone, 3),
                          load(offsetof(seccomp_data, args)), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
                          answer(SECCOMP_RET_ERRNO | EAGAIN), answer(SECCOMP_RET_ALLOW)};
  const sock_fprog program{sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    throw std::runtime_error("this system has no filters of system calls (seccomp), which the test needs");
}

// run() in such a system; the thread that calls this keeps its own.
template <class Run>
auto without_threads(Run&& run) {
  decltype(run()) result;
  std::exception_ptr error;
  std::thread([&] {
    try {
      refuse_threads(), result = run();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);
  return result;
}

}  // namespace vlm2vec
