#include "mmeb/evaluation/score_table.h"

#include <algorithm>

#include "io/error.h"
#include "io/text.h"
#include "mmeb/evaluation/prompt_variants.h"

namespace vlm2vec {
namespace {

struct Widths {
  size_t names = 24, values = 12;
};

std::string right(const std::string& text, size_t width) {
  return std::string(width - std::min(width, text.size()), ' ') + text;
}

// interval: the last value's; null if it has none.
std::string row(const std::string& title, const std::vector<double>& values, Widths width, const Estimate* interval) {
  std::string line = title + std::string(width.names - title.size(), ' ');
  for (const double value : values) line += right(value < 0 ? "-" : formatted("%.1f", value), width.values);
  if (interval) line += formatted("  [%5.1f, %5.1f]", interval->low, interval->high);
  return line + "\n";
}

}  // namespace

std::string score_table(const std::vector<std::pair<std::string, Summary>>& columns) {
  const Estimates estimates = intervals(columns.back().second);
  std::vector<Task> tasks;  // the last column's come first
  for (auto column = columns.rbegin(); column != columns.rend(); ++column)
    for (const SetScore& set : column->second.sets)
      if (std::none_of(tasks.begin(), tasks.end(), [&](const Task& t) { return t.name == set.name; }))
        tasks.push_back(set.task);
  Widths width;
  for (const Task& task : tasks) width.names = std::max(width.names, task.name.size() + 8);
  for (const auto& [title, summary] : columns) width.values = std::max(width.values, title.size() + 2);
  std::string table = "Precision@1, %" + std::string(width.names - 14, ' ');
  for (const auto& [title, summary] : columns) table += right(title, width.values);
  const std::string rule = std::string(width.names + width.values * columns.size() + 16, '-') + "\n";
  table += "   95 % interval\n" + rule;
  bool optional = false, ood = false;
  std::string notes;
  for (const MeanScore& group : kMeanScores) {
    std::vector<double> means;
    for (const auto& [title, summary] : columns) means.push_back(summary.*group.score);
    if (std::all_of(means.begin(), means.end(), [](double m) { return m < 0; })) continue;
    if (std::string(group.key) == "IND") table += rule;
    for (const Task& task : tasks) {
      if (task.meta_task != group.key) continue;
      std::vector<double> values;
      for (const auto& [title, summary] : columns) {
        const auto found = std::ranges::find(summary.sets, task.name, &SetScore::name);
        values.push_back(found == summary.sets.end() ? -1 : found->accuracy);
      }
      if (std::all_of(values.begin(), values.end(), [](double v) { return v < 0; })) continue;
      optional |= task.optional, ood |= task.split == "OOD" && !task.optional;
      table += row("  " + task.name +
                       (task.optional         ? " (+)"
                        : task.split == "OOD" ? " *"
                                              : ""),
                   values, width, find_estimate(estimates.sets, task.name));
    }
    table += row(group.title, means, width, find_estimate(estimates.groups, group.key));
  }
  for (const auto& [title, summary] : columns) {
    int64_t ties = 0, last = 0, rows = 0, candidates = 0;
    CutTexts cut;
    for (const SetScore& set : summary.sets) {
      ties += set.ties, last += set.ties_last, rows += set.skipped, candidates += set.skipped_candidates;
      cut.add({set.texts, set.cut, set.first_cut});
    }
    if (rows + candidates > 0)
      notes += sentence(title, ": ", rows, rows == 1 ? " query" : " queries", " and ", counted(candidates, "candidate"),
                        " were left out (--bad_rows skip); the scores cover the rest\n");
    if (cut.cut > 0) notes += title + ": " + cut.note(max_len(summary)) + "\n";
    if (ties > 0)
      notes += sentence(title, ": ", ties,
                        " rows are right only because the first of equal scores wins; if the last one won, ", last,
                        " would be wrong\n");
  }
  if (ood) table += "* out of distribution\n";
  if (optional) table += "(+) optional, not counted in means\n";
  return table + notes;
}

std::string variants_table(const Summary& summary) {
  std::string table;
  for (const SetScore& set : summary.sets) {
    if (set.variants.empty()) continue;
    std::vector<double> accuracies;
    for (const auto& [instruction, accuracy] : set.variants) accuracies.push_back(accuracy);
    const VariantSummary s = summarise_variants(accuracies);
    table += formatted("%-24s%10zu%10.1f%10.1f%10.1f%10.1f%10.1f\n", set.name.c_str(), accuracies.size(), accuracies[0],
                       s.mean, s.deviation, s.lowest, s.highest);
  }
  if (table.empty()) return "";
  return "\nOther instructions        prompts    stored      mean deviation    lowest   highest\n" +
         std::string(84, '-') + "\n" + table;
}

}  // namespace vlm2vec
