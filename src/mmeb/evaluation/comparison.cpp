#include "mmeb/evaluation/comparison.h"

#include <algorithm>

#include "io/error.h"
#include "mmeb/evaluation/summary.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

Comparison::Line compared(const SetCounts& counts, int64_t right_a, const Estimate& difference) {
  Comparison::Line line{counts.task.name};
  line.rows = counts.rows, line.only_a = counts.losses, line.only_b = counts.gains;
  line.a = 100.0 * double(right_a) / double(counts.rows);
  line.b = 100.0 * double(right_a + counts.gains - counts.losses) / double(counts.rows);
  line.difference = difference;
  line.p = mcnemar(line.only_a, line.only_b);
  line.optional = counts.task.optional;
  return line;
}

// A group's scores are means over its sets; its rows are sums.
Comparison::Line compared_group(const Estimate& difference, const std::vector<SetCounts>& counts,
                                const std::vector<Comparison::Line>& sets) {
  Comparison::Line line{difference.name};
  line.difference = difference;
  double members = 0;
  for (size_t i = 0; i < sets.size(); ++i) {
    if (!belongs(counts[i].task, difference.name)) continue;
    ++members;
    line.a += sets[i].a, line.b += sets[i].b;
    line.rows += sets[i].rows, line.only_a += sets[i].only_a, line.only_b += sets[i].only_b;
  }
  line.a /= members, line.b /= members;
  line.p = mcnemar(line.only_a, line.only_b);
  line.p_holm = -1;
  return line;
}

const SetScore* set_named(const Summary& summary, const std::string& name) {
  const auto found = std::ranges::find(summary.sets, name, &SetScore::name);
  return found == summary.sets.end() ? nullptr : &*found;
}

void require_outcomes(const SetScore& set, const fs::path& folder) {
  if (set.rows < 1 || int64_t(set.right.size()) != set.rows || set.right.find_first_not_of("01") != std::string::npos)
    fail(Exit::data, folder.string(), ": summary.json does not say which of the ", set.rows, " rows of ", set.name,
         " are right; evaluate again");
}

// Throws if the scores of a set cannot be compared row by row.
void require_same_rows(const SetScore& a, const SetScore& b, const fs::path& folder_a, const fs::path& folder_b) {
  require_outcomes(a, folder_a), require_outcomes(b, folder_b);
  const std::string place = sentence(folder_b.string(), ": ", a.name, " "), other = ", in " + folder_a.string() + " ";
  if (a.task.meta_task != b.task.meta_task || a.task.split != b.task.split || a.task.optional != b.task.optional)
    fail(Exit::data, place, "is ", b.task.meta_task, ", ", b.task.split, other, a.task.meta_task, ", ", a.task.split,
         "; its score would count in different means");
  if (a.global != b.global)
    fail(Exit::data, place, "was ranked with eval_type ", b.global ? "global" : "local", other,
         a.global ? "global" : "local", "; the types must be equal");
  if (a.rows != b.rows || a.digest != b.digest)
    fail(Exit::data, place, "has ", b.rows, " rows", other, a.rows, a.rows == b.rows ? " different ones" : "",
         " (pictures of queries, names of candidates); only evaluations of the same rows can be compared");
}

}  // namespace

Comparison compare_evaluations(const fs::path& folder_a, const fs::path& folder_b, uint64_t seed) {
  const Summary a = read_summary(folder_a), b = read_summary(folder_b);
  if (num_candidates(a) != num_candidates(b))
    fail(Exit::data, folder_b.string(), ": was evaluated with --num_candidates ", num_candidates(b), ", ",
         folder_a.string(), " with ", num_candidates(a), "; the numbers must be equal");
  Comparison comparison;
  std::vector<SetCounts> counts;
  std::vector<int64_t> right_a;
  for (const SetScore& of_a : a.sets) {
    const SetScore* of_b = set_named(b, of_a.name);
    if (!of_b) {
      comparison.missing_in_b.push_back(of_a.name);
      continue;
    }
    require_same_rows(of_a, *of_b, folder_a, folder_b);
    counts.push_back({.task = of_a.task, .rows = of_a.rows, .paired = true});
    for (size_t row = 0; row < of_a.right.size(); ++row) {
      counts.back().gains += of_b->right[row] > of_a.right[row];
      counts.back().losses += of_a.right[row] > of_b->right[row];
    }
    right_a.push_back(std::ranges::count(of_a.right, '1'));
  }
  for (const SetScore& of_b : b.sets)
    if (!set_named(a, of_b.name)) comparison.missing_in_a.push_back(of_b.name);
  if (counts.empty()) fail(Exit::data, folder_b.string(), ": has no set in common with ", folder_a.string());
  const Estimates differences = bootstrap(counts, seed);
  std::vector<double> p;
  for (size_t i = 0; i < counts.size(); ++i) {
    comparison.sets.push_back(compared(counts[i], right_a[i], differences.sets[i]));
    p.push_back(comparison.sets[i].p);
  }
  p = holm(p);
  for (size_t i = 0; i < p.size(); ++i) comparison.sets[i].p_holm = p[i];
  for (const Estimate& group : differences.groups)
    comparison.groups.push_back(compared_group(group, counts, comparison.sets));
  return comparison;
}

}  // namespace vlm2vec
