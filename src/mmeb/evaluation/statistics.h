// How sure a score is. Rows are drawn again with replacement within each set (Efron 1979, percentile intervals), means
// are taken over sets as MMEB takes them; two runs on the same rows are compared row by row (McNemar 1947).
// A resampled share of right rows is a binomial count, a resampled difference of two runs a trinomial one, so counts
// are all that is needed of the rows.
// Where all n rows of a set are alike, drawing them again shows nothing else, and an interval without width would claim
// certainty. There a resample draws the share of other rows as 1 − U^(1/n), U uniform, and counts them against the side
// whose bound is sought: the bounds are those of Clopper and Pearson 1934 (of 150 right rows of 150: 97.6 % to 100 %),
// for two runs that agree in every row those of the share in which they may differ, and means over sets inherit the
// doubt. Near these ends (n − 1 right rows of n) percentile intervals are still a little too narrow.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mmeb/data/dataset.h"
#include "mmeb/registry/task.h"
#include "tensor/random.h"

namespace vlm2vec {

// What the rows of a set count. One run: `gains` are the right rows, `losses` 0. Two runs, A and B (paired): `gains`
// are the rows that only B has right, `losses` those that only A has right.
struct SetCounts {
  Task task;
  int64_t rows = 0, gains = 0, losses = 0;
  bool paired = false;
};

// In percent; low and high bound the middle 95 % of the resamples.
struct Estimate {
  std::string name;
  double value = 0, low = 0, high = 0;
};
struct Estimates {
  std::vector<Estimate> sets, groups;  // groups: those of group_names() that have a set
};

constexpr int kResamples = 10'000;

// (gains − losses) / rows of each set, and the mean over the sets of each group; optional sets are in no group. The
// same seed gives the same intervals; a set's does not depend on the other sets.
Estimates bootstrap(const std::vector<SetCounts>& sets, uint64_t seed, int resamples = kResamples);

const std::vector<std::string>& group_names();  // the four meta-tasks, IND, OOD, overall
bool belongs(const Task& task, const std::string& group);

// McNemar's exact test: how likely a split of the rows on which two equally good runs differ is to be at least as
// uneven as this one: twice the tail of Binomial(a + b, 1/2), at most 1.
double mcnemar(int64_t only_a, int64_t only_b);

// Holm 1979: p-values of several tests, raised so that any of them ≤ 0.05 with all differences null has probability
// ≤ 0.05.
std::vector<double> holm(const std::vector<double>& p);

// How many of n trials succeed, of probability p each.
int64_t draw_binomial(Random& random, int64_t n, double p);

}  // namespace vlm2vec
