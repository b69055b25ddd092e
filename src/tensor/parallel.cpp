#include "tensor/parallel.h"

#include <sched.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "io/error.h"
#include "tensor/ahead.h"

namespace vlm2vec {
namespace {

// How the processor computes floats, and a pause between two looks at a variable.
#if defined(__x86_64__)
constexpr unsigned flush_bits = 0x8040;  // MXCSR: flush to zero, denormals are zero
unsigned float_mode() { return _mm_getcsr(); }
void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
void pause() { _mm_pause(); }
#elif defined(__aarch64__)
constexpr unsigned flush_bits = 1 << 24;  // FPCR: flush to zero, operands and results
unsigned float_mode() { return __builtin_aarch64_get_fpcr(); }
void set_float_mode(unsigned mode) { __builtin_aarch64_set_fpcr(mode); }
void pause() { asm volatile("yield"); }
#endif
constexpr auto spin_time = std::chrono::microseconds(40);  // about as long as waking a sleeping thread takes

thread_local bool inside = false;  // this thread runs a range of a parallel_for
thread_local bool background = false;

class FlushDenormals {
 public:
  FlushDenormals() : before_(float_mode()) { set_float_mode(before_ | flush_bits); }
  ~FlushDenormals() { set_float_mode(before_); }

 private:
  unsigned before_;
};

template <class Condition>
bool spin_until(Condition condition) {
  for (const auto end = std::chrono::steady_clock::now() + spin_time;;) {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      pause();
    }
    if (std::chrono::steady_clock::now() > end) return false;
  }
}

struct Job {
  void (*run)(void*, int64_t, int64_t);
  void* f;
  int64_t n, pieces;
  bool yields;  // a worker looks for other work after each piece
  std::atomic<int64_t> next{0};
  std::exception_ptr error;  // guarded by the pool's mutex
  std::atomic<int> busy{0};  // workers in the job
};

class Pool {
 public:
  explicit Pool(int threads) {
    workers_.reserve(size_t(threads - 1));
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error& e) {
      stop();
      fail(Exit::resources, "--threads ", threads, ": the system starts only ", workers_.size() + 1, " (",
           e.code().message(), "); use a smaller number");
    }
  }
  ~Pool() { stop(); }
  int threads() const { return int(workers_.size()) + 1; }

  // Returns false and does nothing if another thread's job has its place.
  bool run(Job& job) {
    std::unique_lock turn(turns_[background], std::try_to_lock);
    if (!turn) return false;
    bool sleepers;
    {
      std::lock_guard lock(mutex_);
      jobs_[background] = &job;
      ++epoch_;
      sleepers = sleepers_ > 0;
    }
    if (sleepers) wake_.notify_all();
    take_pieces(job, job.pieces);
    std::unique_lock lock(mutex_);
    jobs_[background] = nullptr;  // workers that wake up from here on do not find it
    if (job.busy > 0) {
      lock.unlock();
      spin_until([&] { return job.busy == 0; });
      lock.lock();
      done_.wait(lock, [&] { return job.busy == 0; });
    }
    return true;
  }

 private:
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      ++epoch_;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void take_pieces(Job& job, int64_t most) {
    inside = true;
    try {
      for (int64_t i; most-- > 0 && (i = job.next.fetch_add(1)) < job.pieces;)
        job.run(job.f, job.n * i / job.pieces, job.n * (i + 1) / job.pieces);
    } catch (...) {
      job.next = job.pieces;
      std::lock_guard lock(mutex_);
      if (!job.error) job.error = std::current_exception();
    }
    inside = false;
  }

  void work() {
    flush_denormals();
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (!stop_) {
      if (epoch_ == seen) {
        lock.unlock();
        const bool called = spin_until([&] { return epoch_ != seen; });
        lock.lock();
        if (!called) {
          ++sleepers_;
          wake_.wait(lock, [&] { return epoch_ != seen; });
          --sleepers_;
        }
      }
      seen = epoch_;
      while (Job* job = open_job()) {
        ++job->busy;
        lock.unlock();
        take_pieces(*job, job->yields ? 1 : job->pieces);
        lock.lock();
        if (--job->busy == 0) done_.notify_all();
      }
    }
  }

  Job* open_job() const {
    for (Job* job : jobs_)
      if (job && job->next < job->pieces) return job;
    return nullptr;
  }

  std::mutex turns_[2];  // held by the callers whose jobs run
  std::mutex mutex_;     // guards the fields below; the atomics may be read without it
  std::condition_variable wake_, done_;
  Job* jobs_[2] = {};               // [1]: of a background thread; gets workers that [0] does not need
  std::atomic<uint64_t> epoch_{0};  // counts jobs
  int sleepers_ = 0;
  bool stop_ = false;
  std::vector<std::thread> workers_;
};

int cores() {  // only cores that this process may run on
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}
std::unique_ptr<Pool>& pool(int threads = cores()) {  // `threads` counts only in the first call
  static std::unique_ptr<Pool> pool = std::make_unique<Pool>(threads);
  return pool;
}

}  // namespace

int threads() { return pool()->threads(); }

void set_threads(int n) {
  CHECK(n >= 1, "set_threads: expected 1 or more, got ", n);
  CHECK(!inside, "set_threads: called from inside parallel_for");
  if (pool(n)->threads() != n) pool() = std::make_unique<Pool>(n);
}

void flush_denormals() { set_float_mode(float_mode() | flush_bits); }

void detail::in_background() { background = true; }

void detail::parallel_run(int64_t n, int64_t grain, void (*run)(void*, int64_t, int64_t), void* f) {
  if (n <= 0) return;
  const FlushDenormals flush;
  if (!inside && n > grain && threads() > 1) {
    // Up to four pieces per thread: the other threads take over pieces of one that loses its core for a while.
    const int64_t size = std::max<int64_t>(grain, 1), pieces = std::min<int64_t>((n + size - 1) / size, 4 * threads());
    Job job{run, f, n, pieces, background};
    if (pool()->run(job)) {
      if (job.error) std::rethrow_exception(job.error);
      return;
    }
  }
  run(f, 0, n);
}

}  // namespace vlm2vec
