// The kernels that can be traced, by name, each with a small shape of its own.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tracer.h"

namespace vlm2vec::trace {

struct Size {
  std::string name;
  int64_t value, least = 1;
};
// In the order in which they are shown.
struct Shape {
  std::vector<Size> sizes;
  int64_t operator[](const std::string& name) const;
  // Changes some: "rows=100,head_dim=128". Throws for a name that the shape does not have, or what is no size.
  Shape with(const std::string& changes) const;
  std::string text() const;
};

struct Traceable {
  const char* name;
  Shape shape;
  std::function<std::function<void()>(const Shape&)> prepare;  // makes tensors; what it returns launches the kernel
};
const std::vector<Traceable>& traceables();
const Traceable& traceable(const std::string& name);  // throws if there is none

Trace trace_of(const Traceable& kernel, const Shape& shape);

}  // namespace vlm2vec::trace
