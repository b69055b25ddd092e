// One pool of threads for the whole program. The caller joins in the work. Idle workers spin briefly, then sleep and
// leave shared cores free.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace vlm2vec {

int threads();            // number of working threads with the caller; one per core by default
void set_threads(int n);  // must not run inside a parallel_for; Exit::resources if the system refuses so many threads

// Makes this thread treat denormal numbers as zero, as the pool's threads do (they cost hundreds of cycles on some
// machines). The caller does the same inside parallel_for: results do not depend on the thread that computes them.
void flush_denormals();

namespace detail {
void parallel_run(int64_t n, int64_t grain, void (*run)(void* f, int64_t begin, int64_t end), void* f);
}

// Runs f(begin, end) on ranges that cover [0, n) once, in any order, in parallel; each has about `grain` numbers or
// more. The caller runs one range alone if n <= grain or inside another parallel_for. The first exception of a range
// reaches the caller; ranges not yet begun are skipped.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::parallel_run(
      n, grain, [](void* g, int64_t begin, int64_t end) { (*static_cast<Function*>(g))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

// Runs f(i) for each i below n, as parallel_for does with grain 1.
template <class F>
void parallel_each(size_t n, F&& f) {
  parallel_for(int64_t(n), 1, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) f(i);
  });
}

}  // namespace vlm2vec
