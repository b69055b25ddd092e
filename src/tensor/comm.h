// The seam for several devices: every training step gathers embeddings and sums one flat gradient buffer over all
// ranks. This program runs one rank, for which both leave their argument as it is; more than one rank is an error.
#pragma once
#include "io/error.h"
#include "tensor/tensor.h"

namespace vlm2vec {

struct Comm {
  int rank = 0, size = 1;
  // [n, d] → [size·n, d], in order of rank
  Tensor all_gather(const Tensor& rows) const { return check(), rows; }
  // Sums in place over ranks.
  void all_reduce(const Tensor&) const { check(); }

 private:
  void check() const { CHECK(size == 1 && rank == 0, "Comm: rank ", rank, " of ", size, "; only one rank can run"); }
};

}  // namespace vlm2vec
