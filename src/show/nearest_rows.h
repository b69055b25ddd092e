// Finds exact nearest neighbours by comparing with every row of the index, block by block.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace vlm2vec {

struct Hit {
  int64_t row;  // row of the index, from 0
  float score;  // q·x: the cosine of unit vectors
};

// queries f32 [q, d], index f32 [n, d] → the best `top` (at most n) rows of each query, best first; the lower row wins
// ties. Equal rows have equal scores; neither blocks nor threads change a bit. Exit::data for a score that is NaN.
std::vector<std::vector<Hit>> nearest_rows(const Tensor& queries, const Tensor& index, int64_t top);

}  // namespace vlm2vec
