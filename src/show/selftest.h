// Checks in seconds what must hold on every machine: gradients equal differences, GradCache equals the plain step,
// InfoNCE equals its closed form, and embeddings do not depend on batch and threads.
#pragma once
#include <string>
#include <vector>

#include "tensor/storage.h"

namespace vlm2vec {

struct Check {
  std::string name;
  double measured, limit;
  bool ok() const { return measured <= limit; }  // false for NaN
};

std::vector<Check> selftest(Device device, uint64_t seed);
std::vector<Check> gradient_checks(Device device, uint64_t seed);  // the checks of single ops

std::string check_table(const std::vector<Check>& checks);  // check, measured value, limit, ok

}  // namespace vlm2vec
