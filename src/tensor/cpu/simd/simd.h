// Chooses the instruction set of the inner loops: the machine's best, or the one that VLM2VEC_ISA names.
#pragma once
#include <string>
#include <vector>

#include "tensor/cpu/simd/table.h"

namespace vlm2vec {

const Simd& simd();      // Exit::usage if this machine lacks the set that VLM2VEC_ISA names
const char* isa_name();  // "base", "avx2" or "avx512"

const Simd& isa_named(const std::string& name);  // Exit::usage as above
std::vector<const Simd*> available_isas();       // all that this machine can run, from the plainest to the best
std::vector<std::string> isa_names();            // theirs

// For tests: while it exists, simd() is the given table in every thread.
class ScopedIsa {
 public:
  explicit ScopedIsa(const Simd& table);
  ~ScopedIsa();
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  const Simd* before_;
};

}  // namespace vlm2vec
