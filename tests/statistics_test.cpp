#include "mmeb/evaluation/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "expect_error.h"

namespace vlm2vec {
namespace {

SetCounts counts(const std::string& name, int64_t rows, int64_t gains, int64_t losses = 0) {
  return {{name, "vqa", "IND"}, rows, gains, losses};
}
double width(const Estimate& e) { return e.high - e.low; }

TEST(Binomial, has_its_mean_and_variance) {
  struct Case {
    int64_t n;
    double p;
  };
  for (const auto& [n, p] : {Case{1, 0.3}, {10, 0.5}, {1000, 0.01}, {1000, 0.999}, {100'000, 0.4}}) {
    Random random(7);
    const int draws = 20'000;
    double sum = 0, squares = 0;
    for (int i = 0; i < draws; ++i) {
      const double k = double(draw_binomial(random, n, p));
      ASSERT_TRUE(k >= 0 && k <= double(n));
      sum += k, squares += k * k;
    }
    const double mean = sum / draws, variance = squares / draws - mean * mean, expected = double(n) * p * (1 - p);
    EXPECT_NEAR(mean, double(n) * p, 5 * std::sqrt(expected / draws)) << n << " " << p;
    EXPECT_NEAR(variance / expected, 1, 0.06) << n << " " << p;
  }
  Random random(1);
  EXPECT_EQ(draw_binomial(random, 50, 0), 0);
  EXPECT_EQ(draw_binomial(random, 50, 1), 50);
  EXPECT_EQ(draw_binomial(random, 0, 0.5), 0);
}

TEST(Binomial, counts_occur_as_often_as_they_should) {  // n 3, p 0.25: 27, 27, 9, 1 of 64
  Random random(3);
  double seen[4] = {};
  for (int i = 0; i < 64'000; ++i) ++seen[draw_binomial(random, 3, 0.25)];
  const double expected[4] = {27'000, 27'000, 9'000, 1'000};
  double chi_square = 0;
  for (int k = 0; k < 4; ++k) chi_square += std::pow(seen[k] - expected[k], 2) / expected[k];
  EXPECT_LT(chi_square, 16.3);  // 3 degrees of freedom, p 0.001
}

// 1.96 standard errors on each side, for one set and for a mean of sets.
TEST(Bootstrap, has_the_width_of_the_closed_form) {
  const std::vector<SetCounts> sets = {counts("A", 1000, 620), counts("B", 500, 50), counts("C", 1000, 90, 40)};
  const Estimates e = bootstrap(sets, 42);
  double variance_of_mean = 0;
  for (size_t i = 0; i < sets.size(); ++i) {
    const double n = double(sets[i].rows), up = double(sets[i].gains) / n, down = double(sets[i].losses) / n;
    const double variance = 1e4 * (up + down - (up - down) * (up - down)) / n;
    variance_of_mean += variance / 9;
    EXPECT_NEAR(e.sets[i].value, 100 * (up - down), 1e-12);
    EXPECT_NEAR(width(e.sets[i]), 2 * 1.96 * std::sqrt(variance), 0.06 * width(e.sets[i])) << i;
    EXPECT_NEAR((e.sets[i].low + e.sets[i].high) / 2, e.sets[i].value, 0.3) << i;
  }
  ASSERT_EQ(e.groups.size(), 3u);  // vqa, IND, overall
  EXPECT_EQ(e.groups[2].name, "overall");
  EXPECT_NEAR(e.groups[2].value, (62 + 10 + 5) / 3.0, 1e-12);
  EXPECT_NEAR(width(e.groups[2]), 2 * 1.96 * std::sqrt(variance_of_mean), 0.05 * width(e.groups[2]));
}

TEST(Bootstrap, is_the_same_for_the_same_seed_and_set) {
  const auto a = bootstrap({counts("A", 100, 30), counts("B", 100, 30)}, 1), b = bootstrap({counts("B", 100, 30)}, 1),
             c = bootstrap({counts("B", 100, 30)}, 2, 200);
  EXPECT_EQ(a.sets[1].low, b.sets[0].low);
  EXPECT_EQ(a.sets[1].high, b.sets[0].high);
  EXPECT_NE(c.sets[0].low, b.sets[0].low);
  EXPECT_LT(width(a.groups[2]), width(b.groups[2]));  // the two sets are drawn independently
  EXPECT_GT(width(a.groups[2]), width(b.groups[2]) * 0.6);
}

TEST(Bootstrap, groups_have_their_sets) {
  std::vector<SetCounts> sets = {{{"A", "classification", "IND"}, 10, 10},
                                 {{"B", "grounding", "OOD"}, 10, 5},
                                 {{"C", "grounding", "IND"}, 10, 0},
                                 {{"D", "vqa", "IND", true}, 10, 10}};
  const Estimates e = bootstrap(sets, 1, 1000);
  std::map<std::string, double> means;
  for (const Estimate& g : e.groups) means[g.name] = g.value;
  EXPECT_EQ(means, (std::map<std::string, double>{
                       {"classification", 100}, {"grounding", 25}, {"IND", 50}, {"OOD", 50}, {"overall", 50}}));
  EXPECT_THROW(bootstrap({counts("A", 10, 8, 3)}, 1), Error);
  EXPECT_THROW(bootstrap({counts("A", 0, 0)}, 1), Error);
}

// Where all rows are alike: the exact bounds of Clopper and Pearson, one minus or plus alpha / 2 to the power 1 / n.
TEST(Bootstrap, is_not_certain_where_all_rows_are_alike) {
  const int n = 150;
  const double bound = 100 * (1 - std::pow(0.025, 1.0 / n));
  SetCounts equal = counts("P", n, 0), better = counts("P", n, n), worse = counts("P", n, 0, n);
  equal.paired = better.paired = worse.paired = true;
  struct Case {
    SetCounts set;
    double value, low, high;
  };
  for (const Case& c : {Case{counts("A", n, n), 100, 100 - bound, 100},
                        {counts("B", n, 0), 0, 0, bound},
                        {equal, 0, -bound, bound},
                        {better, 100, 100 - bound, 100},
                        {worse, -100, -100, -100 + bound}}) {
    const Estimate e = bootstrap({c.set}, 3).sets[0];
    EXPECT_EQ(e.value, c.value);
    EXPECT_NEAR(e.low, c.low, 0.15) << c.value;
    EXPECT_NEAR(e.high, c.high, 0.15) << c.value;
  }
  const auto two = bootstrap({counts("A", n, n), counts("B", n, n)}, 3);  // the mean inherits the doubt
  EXPECT_GT(width(two.groups[2]), 0.5 * bound);
  EXPECT_LT(width(two.groups[2]), bound);
  EXPECT_EQ(two.groups[2].high, 100);
  const auto half = bootstrap({counts("A", n, n), counts("B", n, 75)}, 3), one = bootstrap({counts("B", n, 75)}, 3);
  EXPECT_NEAR(half.groups[2].high, 50 + one.sets[0].high / 2, 1e-9) << "the doubt about A is on one side";
  EXPECT_LT(half.groups[2].low, 50 + one.sets[0].low / 2);
}

// Of 400 samples of a known truth, about 95 % of the intervals hold it.
TEST(Bootstrap, covers_the_truth) {
  Random random(11);
  int covered = 0;
  for (int i = 0; i < 400; ++i) {
    const Estimate e = bootstrap({counts("A", 300, draw_binomial(random, 300, 0.7))}, uint64_t(i), 1000).sets[0];
    covered += e.low <= 70 && 70 <= e.high;
  }
  EXPECT_GE(covered, 400 * 0.91);
  EXPECT_LE(covered, 400 * 0.98);
}

// 600 and 620 right of 1000, of which 580 the same: the pairs know more than the two runs apart.
TEST(Bootstrap, pairs_are_tighter) {
  const double paired = width(bootstrap({counts("A", 1000, 40, 20)}, 1).sets[0]);
  const double a = width(bootstrap({counts("A", 1000, 600)}, 1).sets[0]),
               b = width(bootstrap({counts("A", 1000, 620)}, 2).sets[0]);
  EXPECT_LT(paired, 0.5 * std::hypot(a, b));
}

TEST(Mcnemar, known_values) {
  struct Case {
    int64_t a, b;
    double p;
  };
  const Case cases[] = {{0, 0, 1},
                        {3, 3, 1},
                        {0, 1, 1},
                        {0, 5, 0.0625},
                        {5, 0, 0.0625},
                        {1, 9, 22.0 / 1024},                      // 2 (1 + 10) / 2^10
                        {2, 8, 112.0 / 1024},                     // 2 (1 + 10 + 45) / 2^10
                        {4, 5, 1},                                // 2 · 256 / 512
                        {49'500, 50'500, 0.0015823598788515956},  // in integers of 100,000 bits
                        {40'000, 60'000, 0}};                     // less than any double
  for (const auto& [a, b, p] : cases) EXPECT_NEAR(mcnemar(a, b), p, 1e-9 + 1e-7 * p) << a << " " << b;
  for (int64_t a = 0; a < 40; ++a) EXPECT_LE(mcnemar(a, 40), mcnemar(a + 1, 40));
  double direct = 0;  // 2 P(Binomial(60, 1/2) <= 20), term by term
  for (int k = 0; k <= 20; ++k)
    direct += 2 * std::exp(std::lgamma(61) - std::lgamma(k + 1) - std::lgamma(61 - k)) / 0x1p60;
  EXPECT_NEAR(mcnemar(20, 40) / direct, 1, 1e-12);
}

TEST(Holm, raises_and_keeps_order) {
  const std::vector<double> p = holm({0.01, 0.04, 0.03, 0.005});
  const double expected[] = {0.03, 0.06, 0.06, 0.02};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(p[i], expected[i], 1e-15) << i;
  EXPECT_EQ(holm({0.7, 0.9}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm({}).empty());
}

}  // namespace
}  // namespace vlm2vec
