// How many bytes the program has allocated, itself and in its libraries: this binary's malloc counts. Not under the
// sanitizers, which have a malloc of their own.
#pragma once
#include <cstdint>

namespace vlm2vec {

constexpr bool allocations_are_counted =
#if defined(__SANITIZE_ADDRESS__)
    false;
#else
    true;
#endif

int64_t peak_allocated();    // most bytes allocated at a time since …
void reset_peak_allocated();  // … this call, beyond those of that moment

}  // namespace vlm2vec
