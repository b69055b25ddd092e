#include "mmeb/evaluation/statistics.h"

#include <math.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/parallel.h"

namespace vlm2vec {
namespace {

double log_factorial(int64_t n) {
  int sign;
  return lgamma_r(double(n) + 1, &sign);
}

// Returns the probability of k under Binomial(n, p); 0 < p < 1.
double binomial_probability(int64_t n, int64_t k, double p) {
  return std::exp(log_factorial(n) - log_factorial(k) - log_factorial(n - k) + double(k) * std::log(p) +
                  double(n - k) * std::log1p(-p));
}

uint64_t stream_of(uint64_t seed, const std::string& name) {
  for (const char c : name) seed = mix(seed, uint8_t(c));
  return seed;
}

// Returns a number in [0, 1) of 53 bits.
double uniform_double(Random& random) {
  const uint64_t high = random.word();
  return double((high << 21) ^ (random.word() >> 11)) * 0x1p-53;
}

// A statistic's values in percent, one per resample: one list for the lower bound, one for the upper bound.
struct Resamples {
  std::vector<double> low, high;
};

Resamples resample(const SetCounts& set, uint64_t seed, int resamples) {
  Random random(stream_of(seed, set.task.name));
  const int64_t changed = set.gains + set.losses;
  const double n = double(set.rows), share = double(changed) / n,
               up = changed > 0 ? double(set.gains) / double(changed) : 0;
  Resamples values;
  for (int i = 0; i < resamples; ++i) {
    double low, high;
    if (changed == 0 || set.gains == set.rows || set.losses == set.rows) {
      const double other = 100 * (1 - std::pow(1 - uniform_double(random), 1 / n));  // outcomes not observed
      low = set.gains > 0 ? 100 - other : set.losses > 0 ? -100 : set.paired ? -other : 0;
      high = set.gains > 0 ? 100 : set.losses > 0 ? other - 100 : other;
    } else {
      const int64_t drawn = draw_binomial(random, set.rows, share);
      low = high = 100 * double(2 * draw_binomial(random, drawn, up) - drawn) / n;
    }
    values.low.push_back(low), values.high.push_back(high);
  }
  return values;
}

// Interpolates linearly between the two nearest values.
double percentile_of(const std::vector<double>& sorted, double q) {
  const double place = q * double(sorted.size() - 1);
  const size_t i = std::min(size_t(place), sorted.size() - 1), next = std::min(i + 1, sorted.size() - 1);
  return sorted[i] + (place - double(i)) * (sorted[next] - sorted[i]);
}

Estimate estimate(const std::string& name, double value, Resamples resamples) {
  std::sort(resamples.low.begin(), resamples.low.end());
  std::sort(resamples.high.begin(), resamples.high.end());
  return {name, value, percentile_of(resamples.low, 0.025), percentile_of(resamples.high, 0.975)};
}

}  // namespace

// Subtracts probabilities from a uniform number, from the most likely count outwards, until it falls below 0. The
// number of steps is about the standard deviation.
int64_t draw_binomial(Random& random, int64_t n, double p) {
  if (n == 0 || p <= 0) return 0;
  if (p >= 1) return n;
  const int64_t mode = std::min(n, int64_t(double(n + 1) * p));
  const double odds = p / (1 - p), at_mode = binomial_probability(n, mode, p);
  double left = uniform_double(random) - at_mode;
  if (left < 0) return mode;
  int64_t below = mode, above = mode;
  double p_below = at_mode, p_above = at_mode;
  while (below > 0 || above < n) {
    if (above < n) {
      p_above *= double(n - above) / double(above + 1) * odds;
      ++above;
      if ((left -= p_above) < 0) return above;
    }
    if (below > 0) {
      p_below *= double(below) / double(n - below + 1) / odds;
      --below;
      if ((left -= p_below) < 0) return below;
    }
  }
  return mode;  // the probabilities sum to slightly less than 1
}

const Estimate* find_estimate(const std::vector<Estimate>& estimates, const std::string& name) {
  const auto found = std::ranges::find(estimates, name, &Estimate::name);
  return found == estimates.end() ? nullptr : &*found;
}

const std::vector<std::string>& group_names() {
  static const std::vector<std::string> names = {"classification", "vqa", "retrieval", "grounding", "IND", "OOD",
                                                 "overall"};
  return names;
}

bool belongs(const Task& task, const std::string& group) {
  return !task.optional && (group == "overall" || group == task.meta_task || group == task.split);
}

Estimates bootstrap(const std::vector<SetCounts>& sets, uint64_t seed, int resamples) {
  for (const SetCounts& set : sets)
    CHECK(set.rows > 0 && set.gains >= 0 && set.losses >= 0 && set.gains + set.losses <= set.rows, set.task.name, ": ",
          set.gains, " gains and ", set.losses, " losses of ", set.rows, " rows");
  std::vector<Resamples> drawn(sets.size());
  std::vector<double> values(sets.size());
  Estimates estimates;
  estimates.sets.resize(sets.size());
  parallel_each(sets.size(), [&](size_t i) {
    drawn[i] = resample(sets[i], seed, resamples);
    values[i] = 100.0 * double(sets[i].gains - sets[i].losses) / double(sets[i].rows);
    estimates.sets[i] = estimate(sets[i].task.name, values[i], drawn[i]);
  });
  for (const std::string& group : group_names()) {
    double mean = 0;
    int members = 0;
    Resamples means{std::vector<double>(size_t(resamples)), std::vector<double>(size_t(resamples))};
    for (size_t i = 0; i < sets.size(); ++i) {
      if (!belongs(sets[i].task, group)) continue;
      ++members;
      mean += values[i];
      for (size_t r = 0; r < size_t(resamples); ++r) means.low[r] += drawn[i].low[r], means.high[r] += drawn[i].high[r];
    }
    if (members == 0) continue;
    for (std::vector<double>* side : {&means.low, &means.high})
      for (double& m : *side) m /= members;
    estimates.groups.push_back(estimate(group, mean / members, std::move(means)));
  }
  return estimates;
}

// Sums terms from large to small: each is the term before times k / (n − k + 1).
double mcnemar(int64_t only_a, int64_t only_b) {
  const int64_t n = only_a + only_b;
  if (only_a == only_b) return 1;
  double term = 1, sum = 0;  // in units of the first term
  for (int64_t k = std::min(only_a, only_b); k >= 0 && term > 1e-18 * sum; --k) {
    sum += term;
    term *= double(k) / double(n - k + 1);
  }
  return std::min(1.0, 2 * sum * binomial_probability(n, std::min(only_a, only_b), 0.5));
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> raised(p.size());
  double highest = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    highest = std::max(highest, std::min(1.0, double(p.size() - i) * p[order[i]]));
    raised[order[i]] = highest;
  }
  return raised;
}

}  // namespace vlm2vec
