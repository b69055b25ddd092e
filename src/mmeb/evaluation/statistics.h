// The uncertainty of scores. Rows are resampled with replacement within each set (Efron 1979, percentile intervals);
// means are taken over sets as in MMEB. Two runs on the same rows are compared row by row (McNemar 1947).
// A resampled share of right rows is a binomial count, and a resampled difference of two runs a trinomial one. So only
// counts of rows are needed.
// If all n rows of a set have the same outcome, resampling gives an interval without width, a false certainty. Each
// resample then draws a share 1 − U^(1/n), U uniform, of rows with another outcome, and counts it against the bound
// sought. This gives the bounds of Clopper and Pearson 1934 (150 of 150 rows right: 97.6 % to 100 %). For two runs that
// agree in every row, it bounds the share of rows in which they may differ. Means over sets inherit this uncertainty.
// Near these ends (n − 1 right rows of n) percentile intervals are still a little too narrow.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mmeb/data/dataset.h"
#include "mmeb/registry/task.h"
#include "tensor/random.h"

namespace vlm2vec {

// Counts of a set's rows. For one run, `gains` are the right rows and `losses` is 0. For paired runs A and B, `gains`
// are the rows that only B has right, `losses` the rows that only A has right.
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
  std::vector<Estimate> sets, groups;  // groups: the entries of group_names() that have a set
};

const Estimate* find_estimate(const std::vector<Estimate>& estimates, const std::string& name);  // null: none

constexpr int kResamples = 10'000;

// Estimates (gains − losses) / rows of each set, and the mean over the sets of each group; optional sets are in no
// group. The same seed gives the same intervals; a set's interval does not depend on other sets.
Estimates bootstrap(const std::vector<SetCounts>& sets, uint64_t seed, int resamples = kResamples);

const std::vector<std::string>& group_names();  // the four meta-tasks, IND, OOD, overall
bool belongs(const Task& task, const std::string& group);

// McNemar's exact test. Returns the probability that two equally good runs split the rows on which they differ at least
// as unevenly: twice the tail of Binomial(a + b, 1/2), at most 1.
double mcnemar(int64_t only_a, int64_t only_b);

// Holm 1979: raises the p-values of several tests; if no difference is real, any p ≤ 0.05 has probability ≤ 0.05.
std::vector<double> holm(const std::vector<double>& p);

// Draws the number of successes in n trials of probability p.
int64_t draw_binomial(Random& random, int64_t n, double p);

}  // namespace vlm2vec
