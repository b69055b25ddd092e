#include "mmeb/sampler.h"

#include <numeric>

namespace vlm2vec {

Sampler::Sampler(std::vector<int64_t> set_sizes, int64_t batch_size, uint64_t seed)
    : streams_(set_sizes.size()), batch_size_(batch_size), seed_(seed), sets_(mix(seed, 0)) {
  for (size_t s = 0; s < streams_.size(); ++s) {
    CHECK(set_sizes[s] > 0, "sampler: set ", s, " is empty");
    streams_[s].order.resize(size_t(set_sizes[s]));
    streams_[s].position = streams_[s].order.size();
  }
}

int32_t Sampler::next_row(int32_t set) {
  Stream& s = streams_[size_t(set)];
  if (s.position == s.order.size()) {
    std::iota(s.order.begin(), s.order.end(), 0);
    Random(mix(mix(seed_, uint64_t(set) + 1), s.epoch++)).shuffle(s.order);
    s.position = 0;
  }
  return s.order[s.position++];
}

std::vector<RowId> Sampler::next() {
  std::vector<RowId> rows;
  for (int64_t i = 0; i < batch_size_; ++i) {
    const int32_t set = int32_t(sets_.below(uint32_t(streams_.size())));
    rows.push_back({set, next_row(set)});
  }
  return rows;
}

}  // namespace vlm2vec
