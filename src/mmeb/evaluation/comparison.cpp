#include "mmeb/evaluation/comparison.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// Where the JSON string that begins at `quote` is over; npos: nowhere.
size_t end_of_string(std::string_view line, size_t quote) {
  for (size_t end = quote;;) {
    end = line.find('"', end + 1);
    if (end == line.npos) return end;
    size_t text = end;
    while (line[text - 1] == '\\') --text;
    if ((end - text) % 2 == 0) return end + 1;  // the quote that closes has an even number of \ before it
  }
}

// The line with only the first name of its prediction. A line may name thousands of candidates, of which only the
// winner counts here; what does not begin with a plain list of strings is left as it is.
std::string without_losers(std::string_view line) {
  const auto skip = [&](size_t at, std::string_view token) {  // behind the token and the blank that may follow
    if (at == line.npos || line.substr(at, token.size()) != token) return line.npos;
    at += token.size();
    return at < line.size() && line[at] == ' ' ? at + 1 : at;
  };
  size_t at = skip(skip(skip(0, "{"), "\"prediction\":"), "["), first_end = 0;
  while (at < line.size() && line[at] == '"') {
    at = end_of_string(line, at);
    if (at >= line.size()) break;
    if (first_end == 0) first_end = at;
    if (line[at] == ']') return std::string(line.substr(0, first_end)) + std::string(line.substr(at));
    at = skip(at, ",");
  }
  return std::string(line);
}

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

// Its sets: scores are means over them, rows are added up.
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

const Task* task_named(const std::vector<Task>& tasks, const std::string& name) {
  const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const Task& t) { return t.name == name; });
  return found == tasks.end() ? nullptr : &*found;
}

// What A and B make of the same rows.
std::pair<SetCounts, int64_t> paired_counts(const Task& task, const fs::path& a, const fs::path& b) {
  const Outcomes of_a = read_outcomes(a, task.name), of_b = read_outcomes(b, task.name);
  const std::string place = sentence(b.string(), ": ", task.name, " ");
  if (of_a.right.size() != of_b.right.size())
    fail(Exit::data, place, "has ", of_b.right.size(), " rows, in ", a.string(), " ", of_a.right.size(),
         "; only evaluations of the same rows can be compared");
  SetCounts counts{task, int64_t(of_a.right.size())};
  int64_t right_a = 0;
  for (size_t i = 0; i < of_a.right.size(); ++i) {
    if (of_a.labels[i] != of_b.labels[i])
      fail(Exit::data, place, "has another label in row ", i + 1, " than ", a.string(),
           "; only evaluations of the same rows can be compared");
    right_a += of_a.right[i];
    counts.gains += of_b.right[i] && !of_a.right[i];
    counts.losses += of_a.right[i] && !of_b.right[i];
  }
  return {counts, right_a};
}

struct EvaluationHead {
  std::vector<Task> tasks;
  int64_t num_candidates = 0;
};
EvaluationHead read_evaluation(const fs::path& folder) {
  const fs::path file = folder / "summary.json";
  if (!fs::exists(file))
    fail(Exit::data, folder.string(), ": has no summary.json; eval writes it when all sets are done");
  EvaluationHead head;
  try {
    const std::string text = read_text(file);
    check_nesting(text, file.string());
    const auto content = nlohmann::ordered_json::parse(text);  // sets in the order of the file
    for (const auto& [name, set] : content.at("datasets").items())
      head.tasks.push_back({name, set.at("meta_task"), set.at("split"), set.value("optional", false)});
    if (content.contains("options")) head.num_candidates = content["options"].value("num_candidates", int64_t(0));
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": not a summary of an evaluation with each set's meta_task and split (", e.what(),
         "); evaluate again");
  }
  return head;
}

}  // namespace

Outcomes read_outcomes(const fs::path& folder, const std::string& set) {
  const fs::path file = folder / (set + "_pred.jsonl");
  Outcomes outcomes;
  read_json_lines(
      file,
      [&](const nlohmann::ordered_json& row) {
        const auto names = text_list_field(row, "prediction");
        if (names.empty()) fail(Exit::data, "prediction is empty, expected the names of candidates");
        outcomes.labels.push_back(text_list_field(row, "label"));
        const auto& labels = outcomes.labels.back();
        outcomes.right.push_back(std::find(labels.begin(), labels.end(), names[0]) != labels.end());
      },
      0, without_losers);
  return outcomes;
}

std::vector<Task> read_evaluated_tasks(const fs::path& folder) { return read_evaluation(folder).tasks; }

Comparison compare_evaluations(const fs::path& a, const fs::path& b, uint64_t seed) {
  const EvaluationHead head_a = read_evaluation(a), head_b = read_evaluation(b);
  const std::vector<Task>&tasks_a = head_a.tasks, &tasks_b = head_b.tasks;
  if (head_a.num_candidates != head_b.num_candidates)
    fail(Exit::data, b.string(), ": was evaluated with --num_candidates ", head_b.num_candidates, ", ", a.string(),
         " with ", head_a.num_candidates, "; only equal ones can be compared");
  Comparison comparison;
  std::vector<SetCounts> counts;
  std::vector<int64_t> right_a;
  for (const Task& task : tasks_a) {
    const Task* same = task_named(tasks_b, task.name);
    if (!same) {
      comparison.missing_in_b.push_back(task.name);
      continue;
    }
    if (same->meta_task != task.meta_task || same->split != task.split || same->optional != task.optional)
      fail(Exit::data, b.string(), ": ", task.name, " is ", same->meta_task, ", ", same->split, ", in ", a.string(),
           " ", task.meta_task, ", ", task.split, "; its score would count in different means");
    const auto [pairs, right] = paired_counts(task, a, b);
    counts.push_back(pairs), right_a.push_back(right);
  }
  for (const Task& task : tasks_b)
    if (!task_named(tasks_a, task.name)) comparison.missing_in_a.push_back(task.name);
  if (counts.empty()) fail(Exit::data, b.string(), ": has no set in common with ", a.string());
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
