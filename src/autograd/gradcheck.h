// Checks gradients against central differences of f in f64, through the scalar kernels.
#pragma once
#include <functional>
#include <vector>

#include "autograd/var.h"

namespace vlm2vec {

// Compares d(w · f(x)) / dx of the tape, for a random w, with (f(x + h) − f(x − h)) / 2h. Returns the largest deviation
// of an element, relative to the largest element of that input's gradient or 0.01; correct formulas give about 1e-9.
// Inputs must be f64 and small: f runs twice per element. f gets each input as a leaf.
double gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs,
                 uint64_t seed = 1);

}  // namespace vlm2vec
