// Compares an evaluation with published results, averaged over the same sets.
#include <algorithm>

#include "io/error.h"
#include "io/text.h"
#include "mmeb/evaluation/score_table.h"
#include "mmeb/registry/registry.h"
#include "mmeb/registry/task.h"

namespace vlm2vec {
namespace {

constexpr int kTitleWidth = 42;

std::string line(const std::string& title, const std::vector<double>& means) {
  std::string text = title;
  text.resize(std::max(text.size(), size_t(kTitleWidth)), ' ');
  for (const double mean : means) text += mean < 0 ? formatted("%8s", "-") : formatted("%8.1f", mean);
  return text + "\n";
}

const std::string kRule = std::string(kTitleWidth + 7 * 8, '-') + "\n";

std::string head(std::string title) {
  title.resize(kTitleWidth, ' ');
  for (const char* column : {"CLS", "VQA", "RET", "VG", "IND", "OOD", "All"}) title += formatted("%8s", column);
  return "\n" + title + "\n" + kRule;
}

std::vector<double> means(const Summary& s) {
  std::vector<double> values;
  for (const MeanScore& mean : kMeanScores) values.push_back(s.*mean.score);
  return values;
}

std::vector<double> printed(const std::map<std::string, double>& averages) {
  std::vector<double> values;
  for (const MeanScore& mean : kMeanScores)
    values.push_back(averages.contains(mean.key) ? averages.at(mean.key) : -1);
  return values;
}

// Wraps "Name, name, …" in lines of at most 110 characters.
std::string wrapped(const std::vector<std::string>& names) {
  std::string text = "  ";
  size_t width = 2;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += ",", ++width;
    if (width + names[i].size() > 108) text += "\n ", width = 1;
    if (i > 0) text += " ", ++width;
    text += names[i], width += names[i].size();
  }
  return text + "\n";
}

}  // namespace

std::string published_table(const Summary& ours, const std::string& title) {
  const std::vector<Task> tasks = registered_tasks();
  std::vector<SetScore> known;
  for (const SetScore& set : ours.sets)
    if (registered(set.name)) known.push_back(set);
  if (known.empty()) return "";
  std::vector<std::string> missing, short_sets, global_sets;
  for (const RegisteredSet& set : registered_sets()) {
    const auto found = std::find_if(known.begin(), known.end(), [&](const SetScore& s) { return s.name == set.name; });
    if (found == known.end()) missing.push_back(set.name);
    else if (found->global) global_sets.push_back(set.name);
    else if (found->rows != 1000) short_sets.push_back(sentence(set.name, " ", found->rows));
  }
  std::string table = head("Beside published results");
  bool only_averages = false;
  for (const PublishedResult& result : published_results()) {
    if (!result.datasets.empty()) {
      std::vector<SetScore> same;
      for (const SetScore& set : known) same.push_back({set.name, result.datasets.at(set.name)});
      table += line(result.model, means(summarise(std::move(same), tasks)));
    } else if (missing.empty()) {
      table += line(result.model + " +", printed(result.averages)), only_averages = true;
    }
  }
  table += kRule + line(title, means(summarise(known, tasks)));
  if (only_averages) table += "+ averages as published; all other averages are recomputed from the 36 sets\n";
  if (!missing.empty())
    table += sentence("All means are over the ", known.size(), known.size() == 1 ? " set" : " sets",
                      " of MMEB evaluated here; ", missing.size(), " are missing:\n") +
             wrapped(missing);
  if (!global_sets.empty())
    table += "Published scores rank each row's own candidates; these sets rank the candidates of all rows:\n" +
             wrapped(global_sets);
  if (!short_sets.empty())
    table += "Published scores have 1000 rows per set; these sets have another number here:\n" + wrapped(short_sets);
  return table;
}

std::string published_candidates_table(const Summary& ours) {
  if (std::none_of(ours.sets.begin(), ours.sets.end(), [](const SetScore& s) { return registered(s.name); })) return "";
  std::string table = head("Published, by candidates of each query");
  for (const Ablation& row : published_ablations())
    if (row.subject == "candidates") table += line(row.setting + ", " + row.value, printed(row.averages));
  return table;
}

}  // namespace vlm2vec
