#include "mmeb/training/sampler.h"

#include <algorithm>
#include <numeric>

#include "io/error.h"
#include "mmeb/training/numpy_random.h"
#include "tensor/random.h"

namespace vlm2vec {
namespace {

void check_sizes(const std::vector<int64_t>& sizes) {
  for (size_t s = 0; s < sizes.size(); ++s) CHECK(sizes[s] > 0, "sampler: set ", s, " is empty");
}

// Gives the numbers below n in one random order after another.
class Permutations {
 public:
  Permutations(int64_t n, uint64_t key) : order_(size_t(n)), position_(order_.size()), key_(key) {}
  bool at_end() const { return position_ == order_.size(); }  // the order is used up
  int32_t next() {
    if (at_end()) {
      std::iota(order_.begin(), order_.end(), 0);
      Random(mix(key_, epoch_++)).shuffle(order_);
      position_ = 0;
    }
    return order_[position_++];
  }

 private:
  std::vector<int32_t> order_;
  size_t position_;
  uint64_t key_, epoch_ = 0;
};

// One pass of interleaved_sampler.
class Interleaver {
 public:
  Interleaver(std::vector<int64_t> sizes, const Interleaving& how, uint64_t seed)
      : sizes_(std::move(sizes)),
        block_(how.block),
        seed_(seed),
        ends_(how.weights),
        spent_at_end_(how.first_exhausted ? 1 : sizes_.size()) {
    const double sum = std::accumulate(ends_.begin(), ends_.end(), 0.0);
    for (double& weight : ends_) weight /= sum;
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    for (double& end : ends_) end /= ends_.back();
    restart();
  }
  void restart() {
    random_ = NumpyRandom(seed_);
    positions_.assign(sizes_.size(), 0);
    spent_ = 0, left_in_block_ = 0;
  }
  bool at_end() const { return spent_ == spent_at_end_; }
  RowId next() {                                                       // must not be called at the end
    while (left_in_block_ == 0 || positions_[set_] == sizes_[set_]) {  // a spent set ends its block
      set_ = size_t(std::upper_bound(ends_.begin(), ends_.end(), random_.uniform()) - ends_.begin());
      left_in_block_ = block_;
    }
    --left_in_block_;
    const int64_t row = positions_[set_]++;
    spent_ += positions_[set_] == sizes_[set_];
    return {int32_t(set_), int32_t(row)};
  }

 private:
  std::vector<int64_t> sizes_, positions_;
  int64_t block_, left_in_block_ = 0;
  uint64_t seed_;
  std::vector<double> ends_;  // ends of the sets' shares of [0, 1)
  size_t spent_at_end_, spent_ = 0, set_ = 0;
  NumpyRandom random_{0};
};

}  // namespace

Sampler shuffled_sampler(const std::vector<int64_t>& sizes, int64_t batch_size, uint64_t seed) {
  check_sizes(sizes);
  std::vector<int64_t> ends(sizes.size());
  std::partial_sum(sizes.begin(), sizes.end(), ends.begin());
  return [=, rows = Permutations(ends.back(), mix(seed, 0))]() mutable {
    std::vector<RowId> batch;
    do {
      const int64_t row = rows.next();
      const size_t set = size_t(std::upper_bound(ends.begin(), ends.end(), row) - ends.begin());
      batch.push_back({int32_t(set), int32_t(row - (ends[set] - sizes[set]))});
    } while (int64_t(batch.size()) < batch_size && !rows.at_end());
    return batch;
  };
}

Sampler balanced_sampler(const std::vector<int64_t>& sizes, int64_t batch_size, uint64_t seed) {
  check_sizes(sizes);
  std::vector<Permutations> sets;
  for (size_t s = 0; s < sizes.size(); ++s) sets.emplace_back(sizes[s], mix(seed, uint64_t(s) + 1));
  return [=, draws = Random(mix(seed, 0))]() mutable {
    std::vector<RowId> batch;
    for (int64_t i = 0; i < batch_size; ++i) {
      const uint32_t set = draws.below(uint32_t(sets.size()));
      batch.push_back({int32_t(set), sets[set].next()});
    }
    return batch;
  };
}

Sampler interleaved_sampler(const std::vector<int64_t>& sizes, const Interleaving& interleaving, int64_t batch_size,
                            uint64_t seed) {
  check_sizes(sizes);
  CHECK(interleaving.weights.size() == sizes.size() && interleaving.block > 0, "sampler: ", sizes.size(), " sets, ",
        interleaving.weights.size(), " weights, blocks of ", interleaving.block);
  return [=, rows = Interleaver(sizes, interleaving, seed)]() mutable {
    std::vector<RowId> batch;
    for (int pass = 0; int64_t(batch.size()) < batch_size;) {
      if (rows.at_end()) {
        if (++pass > 1)
          fail(Exit::usage, "train: a pass of interleaved sampling has ", batch.size(), " rows, fewer than the ",
               batch_size, " of a batch; lower --per_device_train_batch_size");
        batch.clear();  // drops rows that do not fill a batch
        rows.restart();
      }
      batch.push_back(rows.next());
    }
    return batch;
  };
}

}  // namespace vlm2vec
