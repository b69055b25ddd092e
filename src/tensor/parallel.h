// One pool of threads for the whole program. The caller joins in the work; idle workers spin for a moment and then
// sleep, so that shared cores are not burnt.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace vlm2vec {

int threads();            // how many work together, the caller included; at first one for each core
void set_threads(int n);  // not while a parallel_for runs; Exit::resources if the system refuses so many

// This thread computes denormal numbers as zero from now on, as the pool's threads do (on some machines they cost
// hundreds of cycles each). Inside parallel_for the caller does so too: results do not depend on who computed them.
void flush_denormals();

namespace detail {
void parallel_run(int64_t n, int64_t grain, void (*run)(void* f, int64_t begin, int64_t end), void* f);
}

// f(begin, end) on ranges that cover [0, n) once, of about `grain` numbers or more; in any order, at the same time. One
// range, run here, if n <= grain or if called from inside another parallel_for. The first exception that a range throws
// reaches the caller; ranges not yet begun are then left out.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::parallel_run(
      n, grain, [](void* g, int64_t begin, int64_t end) { (*static_cast<Function*>(g))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

}  // namespace vlm2vec
