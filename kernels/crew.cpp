#include "kernels/crew.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/gpu.h"
#include "kernels/watcher.h"

namespace vlm2vec::emulator {
namespace {

std::atomic<unsigned> os_threads = 1;

class Crew {
 public:
  // False if the crew is at work for another launch, or the system has no more threads.
  bool run(unsigned parts, const std::function<void(Part)>& run) {
    const std::unique_lock mine(at_work_, std::try_to_lock);
    if (!mine) return false;
    if (!hire(parts - 1)) return false;
    errors_.assign(parts, nullptr);
    {
      const std::lock_guard guard(lock_);
      fegetenv(&rounding_);
      run_ = &run, parts_ = parts, left_ = parts - 1, ++launch_;
    }
    begun_.notify_all();
    attempt(0);
    std::unique_lock guard(lock_);
    ended_.wait(guard, [this] { return left_ == 0; });
    for (const std::exception_ptr& error : errors_)
      if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  bool hire(size_t count) {
    try {
      while (threads_.size() < count) threads_.emplace_back([this, number = threads_.size() + 1] { work(number); });
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }
  void work(size_t number) {
    std::unique_lock guard(lock_);
    for (uint64_t seen = 0;;) {
      begun_.wait(guard, [&] { return launch_ != seen; });
      seen = launch_;
      if (number >= parts_) continue;
      guard.unlock();
      fesetenv(&rounding_);  // and whether denormal numbers are zero
      attempt(unsigned(number));
      guard.lock();
      if (--left_ == 0) ended_.notify_one();
    }
  }
  void attempt(unsigned number) {
    try {
      (*run_)({number, parts_});
    } catch (...) {
      errors_[number] = std::current_exception();
    }
  }

  std::mutex at_work_, lock_;
  std::condition_variable begun_, ended_;
  std::vector<std::thread> threads_;
  const std::function<void(Part)>* run_ = nullptr;
  unsigned parts_ = 1, left_ = 0;
  uint64_t launch_ = 0;
  std::fenv_t rounding_{};
  std::vector<std::exception_ptr> errors_;  // by part
};

}  // namespace

void share_blocks(uint64_t blocks, const std::function<void(Part)>& run) {
  static Crew* const crew = new Crew;  // never destroyed: its threads wait for ever
  const unsigned parts = unsigned(std::min<uint64_t>(blocks, watcher || self ? 1 : unsigned(os_threads)));
  if (parts < 2 || !crew->run(parts, run)) run({});
}

void use_os_threads(int n) { os_threads = unsigned(n); }

}  // namespace vlm2vec::emulator
