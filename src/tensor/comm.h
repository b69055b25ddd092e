// The seam for several devices: every training step gathers embeddings and sums one flat gradient buffer over all
// ranks. With one rank, both functions change nothing.
#pragma once
#include "tensor/tensor.h"

namespace vlm2vec {

struct Comm {
  int rank = 0, size = 1;
  Tensor all_gather(const Tensor& rows) const { return rows; }  // [n, d] → [size·n, d], in order of rank
  void all_reduce(const Tensor&) const {}                       // sums in place over ranks
};

}  // namespace vlm2vec
