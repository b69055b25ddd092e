// What must hold on every machine, measured in seconds: gradients against differences, GradCache against the plain
// step, InfoNCE against its closed form, embeddings that do not depend on batch and threads.
#pragma once
#include <string>
#include <vector>

#include "tensor/storage.h"

namespace vlm2vec {

struct Check {
  std::string name;
  double measured, limit;
  bool ok() const { return measured <= limit; }  // not a number: no
};

std::vector<Check> selftest(Device device, uint64_t seed);
std::vector<Check> gradient_checks(Device device, uint64_t seed);  // the part about single ops

std::string check_table(const std::vector<Check>& checks);  // check, measured value, limit, ok

}  // namespace vlm2vec
