// Exact nearest neighbours: every row of the index is looked at, block by block.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace vlm2vec {

struct Hit {
  int64_t row;  // of the index, from 0
  float score;  // q·x, of unit vectors the cosine
};

// queries f32 [q, d], index f32 [n, d] → of each query the best `top` (or n) rows, best first, of equal scores the
// lower row. Equal rows have equal scores; neither blocks nor threads change a bit. Exit::data for a score that is NaN.
std::vector<std::vector<Hit>> nearest_rows(const Tensor& queries, const Tensor& index, int64_t top);

}  // namespace vlm2vec
