// Compares two evaluations of the same rows: B − A with paired intervals and tests of significance.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "mmeb/evaluation/statistics.h"

namespace vlm2vec {

struct Comparison {
  struct Line {
    std::string name;                          // a set or a group
    double a = 0, b = 0;                       // percent right
    Estimate difference;                       // B − A, percentage points
    int64_t rows = 0, only_a = 0, only_b = 0;  // a group's counts and p cover all its sets together
    double p = 1, p_holm = 1;                  // McNemar's test; corrected for the number of sets, −1 for groups
    bool optional = false;                     // the set does not count in means
  };
  std::vector<Line> sets, groups;
  std::vector<std::string> missing_in_a, missing_in_b;  // sets that only the other folder has
};
// Counts right rows as the table of `eval` does (Precision@1 by VLM2Vec V1's rule). Throws Exit::data if the rows of a
// set or their candidates differ between the folders, or if no set is in both.
Comparison compare_evaluations(const std::filesystem::path& a, const std::filesystem::path& b, uint64_t seed);

std::string comparison_table(const Comparison& comparison);
std::string comparison_json(const Comparison& comparison);  // one line

}  // namespace vlm2vec
