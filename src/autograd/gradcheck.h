// Are the gradients right? Central differences of f in f64, through the scalar kernels.
#pragma once
#include <functional>
#include <vector>

#include "autograd/var.h"

namespace vlm2vec {

// For a random w: d(w · f(x)) / dx by the tape and by differences (f(x + h) − f(x − h)) / 2h. Returns the largest
// deviation of an element, relative to the largest element of that input's gradient or 0.01; about 1e-9 where the
// formulas are right. Inputs are f64 (f is called twice per element: keep them small); each is handed to f as a leaf.
double gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                 uint64_t seed = 1);

}  // namespace vlm2vec
