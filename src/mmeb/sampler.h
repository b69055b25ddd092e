// Which rows a training step sees. Each place of a batch draws a data set uniformly, then that set's next row; every
// set is reshuffled when it is used up. The order follows from the seed alone, so a resumed run replays it.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/random.h"

namespace vlm2vec {

struct RowId {
  int32_t set, row;
  auto operator<=>(const RowId&) const = default;
};

class Sampler {
 public:
  Sampler(std::vector<int64_t> set_sizes, int64_t batch_size, uint64_t seed);
  std::vector<RowId> next();  // the rows of the next step

 private:
  int32_t next_row(int32_t set);
  struct Stream {
    std::vector<int32_t> order;
    size_t position = 0;
    uint64_t epoch = 0;
  };
  std::vector<Stream> streams_;
  int64_t batch_size_;
  uint64_t seed_;
  Random sets_;
};

}  // namespace vlm2vec
