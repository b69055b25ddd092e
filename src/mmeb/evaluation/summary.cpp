#include "mmeb/evaluation/summary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kIntervalSeed = 42;

Json number(double score) { return score < 0 ? Json(nullptr) : Json(score); }
Json bounds(const Estimate& e) { return {e.low, e.high}; }

}  // namespace

const Task& task_of(const std::string& set, const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (task.name == set) return task;
  fail(Exit::data, set,
       ": this set is neither in tasks.json nor one of MMEB's 36; write its meta-task and split there");
}

Summary summarise(std::vector<SetScore> scores, const std::vector<Task>& tasks, double SetScore::*value) {
  std::map<std::string, std::pair<double, int>> groups;  // sum and number of sets
  for (SetScore& score : scores) {
    score.task = task_of(score.name, tasks);
    for (const std::string& group : group_names())
      if (belongs(score.task, group)) groups[group].first += score.*value, ++groups[group].second;
  }
  const auto mean = [&](const char* group) {
    return groups.contains(group) ? groups[group].first / groups[group].second : -1.0;
  };
  std::sort(scores.begin(), scores.end(),
            [&](const SetScore& a, const SetScore& b) { return &task_of(a.name, tasks) < &task_of(b.name, tasks); });
  return {mean("overall"), mean("IND"),       mean("OOD"),       mean("classification"),
          mean("vqa"),     mean("retrieval"), mean("grounding"), std::move(scores)};
}

Summary chance_summary(const Summary& summary) {
  std::vector<Task> tasks;
  for (const SetScore& set : summary.sets) tasks.push_back(set.task);
  Summary chance = summarise(summary.sets, tasks, &SetScore::chance);
  for (SetScore& set : chance.sets) set.accuracy = set.chance, set.ties = 0;
  return chance;
}

Estimates intervals(const Summary& summary) {
  std::vector<SetCounts> counts;
  for (const SetScore& set : summary.sets) counts.push_back({set.task, set.rows, set.correct, 0});
  return bootstrap(counts, kIntervalSeed);
}

std::string summary_json(const Summary& s) {
  Json json = {{"overall", number(s.overall)},
               {"IND", number(s.ind)},
               {"OOD", number(s.ood)},
               {"classification", number(s.classification)},
               {"vqa", number(s.vqa)},
               {"retrieval", number(s.retrieval)},
               {"grounding", number(s.grounding)}};
  const Estimates estimates = intervals(s);
  for (const Estimate& group : estimates.groups) json["interval_95"][group.name] = bounds(group);
  Json sets = Json::object();
  for (size_t i = 0; i < s.sets.size(); ++i) {
    const SetScore& set = s.sets[i];
    sets[set.name] = {{"accuracy", set.accuracy},
                      {"interval_95", bounds(estimates.sets[i])},
                      {"chance", set.chance},
                      {"correct", set.correct},
                      {"rows", set.rows},
                      {"ties", set.ties},
                      {"ties_last", set.ties_last},
                      {"meta_task", set.task.meta_task},
                      {"split", set.task.split},
                      {"optional", set.task.optional},
                      {"eval_type", set.global ? "global" : "local"},
                      {"right", set.right},
                      {"rows_sha256", set.digest}};
    for (const auto& [instruction, accuracy] : set.variants)
      sets[set.name]["prompt_variants"].push_back({{"instruction", instruction}, {"accuracy", accuracy}});
  }
  json["datasets"] = sets;
  json["precision"] = s.precision;
  json["options"] = Json::parse(s.options);
  return json.dump(2) + "\n";
}

Summary read_summary(const fs::path& folder) {
  const fs::path file = folder / "summary.json";
  if (!fs::is_directory(folder))
    fail(Exit::data, folder.string(), ": there is no such folder; name one that eval wrote (--encode_output_path)");
  if (!fs::exists(file))
    fail(Exit::data, folder.string(), ": is no finished evaluation: it has no summary.json, which eval writes last");
  const std::string text = read_text(file);
  check_nesting(text, file.string());
  std::vector<SetScore> scores;
  std::vector<Task> tasks;
  try {
    const Json content = Json::parse(text);  // sets in the order of the file
    for (const auto& [name, s] : content.at("datasets").items()) {
      tasks.push_back({name, s.at("meta_task"), s.at("split"), s.value("optional", false)});
      scores.push_back({.name = name,
                        .accuracy = s.at("accuracy"),
                        .chance = s.at("chance"),
                        .correct = s.at("correct"),
                        .rows = s.at("rows"),
                        .ties = s.at("ties"),
                        .ties_last = s.at("ties_last"),
                        .right = s.value("right", ""),
                        .digest = s.value("rows_sha256", ""),
                        .global = s.value("eval_type", "local") == "global"});
    }
    Summary summary = summarise(std::move(scores), tasks);
    summary.precision = content.at("precision");
    summary.options = content.value("options", Json::object()).dump();
    return summary;
  } catch (const nlohmann::json::exception& e) {
    fail(Exit::data, file.string(), ": is not the summary of an evaluation (", reason_of(e), "); evaluate again");
  }
}

}  // namespace vlm2vec
