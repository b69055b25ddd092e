#include "mmeb/evaluation/summary.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "io/files.h"
#include "mmeb/evaluation/eval_options.h"
#include "mmeb/registry/task.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kIntervalSeed = 42;

Json number(double score) { return score < 0 ? Json(nullptr) : Json(score); }
Json bounds(const Estimate& e) { return {e.low, e.high}; }

std::string kind_of(const Json& value) {
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a string";
  if (value.is_boolean()) return "true or false";
  if (value.is_object()) return "an object";
  return value.is_array() ? "a list" : "null";
}

void require_kind(const std::string& place, const Json& value, const Json& like) {
  if (kind_of(value) != kind_of(like) && !(value.is_number() && like.is_number_float()))
    fail(Exit::data, place, " is ", kind_of(value), ", expected ", kind_of(like), "; evaluate again");
}

// Reads the fields of an object in summary.json; each must have the type of its variable.
class Fields {
 public:
  Fields(const Json& object, std::string place) : object_(object), place_(std::move(place)) {
    require_kind(place_, object, Json::object());
  }
  template <class T>
  T get(const char* name, const T& otherwise) const {
    if (!object_.contains(name)) return otherwise;
    require_kind(place_ + ": " + name, object_[name], otherwise);
    return object_[name].get<T>();
  }
  template <class T>
  T need(const char* name, const T& like = T()) const {
    if (!object_.contains(name)) fail(Exit::data, place_, ": ", name, " is missing; evaluate again");
    return get(name, like);
  }

 private:
  const Json& object_;
  std::string place_;
};

}  // namespace

Json set_json(const SetScore& set) {
  Json json = {{"accuracy", set.accuracy},
               {"chance", set.chance},
               {"correct", set.correct},
               {"rows", set.rows},
               {"ties", set.ties},
               {"ties_last", set.ties_last},
               {"eval_type", set.global ? "global" : "local"},
               {"right", set.right},
               {"rows_sha256", set.digest}};
  if (set.limit > 0) json["num_sample_per_subset"] = set.limit;
  if (set.skipped + set.skipped_candidates > 0)
    json["skipped"] = {{"rows", set.skipped}, {"candidates", set.skipped_candidates}};
  json["texts"] = set.texts, json["cut"] = set.cut;
  if (set.cut > 0) json["first_cut"] = set.first_cut;
  for (const auto& [instruction, accuracy] : set.variants)
    json["prompt_variants"].push_back({{"instruction", instruction}, {"accuracy", accuracy}});
  return json;
}

SetScore read_set_score(const std::string& name, const Json& stored, const std::string& place) {
  const Fields set(stored, place);
  const std::string type = set.get("eval_type", std::string("local"));
  if (type != "local" && type != "global")
    fail(Exit::data, place, ": eval_type is ", type, ", expected local or global; evaluate again");
  const Json left_out = set.get("skipped", Json(Json::object()));
  const Fields skipped(left_out, place + ": skipped");
  SetScore score{.name = name,
                 .accuracy = set.need<double>("accuracy"),
                 .chance = set.need<double>("chance"),
                 .correct = set.need<int64_t>("correct"),
                 .rows = set.need<int64_t>("rows"),
                 .ties = set.need<int64_t>("ties"),
                 .ties_last = set.need<int64_t>("ties_last"),
                 .right = set.get("right", std::string()),
                 .digest = set.get("rows_sha256", std::string()),
                 .global = type == "global",
                 .limit = set.get("num_sample_per_subset", int64_t(0)),
                 .skipped = skipped.get("rows", int64_t(0)),
                 .skipped_candidates = skipped.get("candidates", int64_t(0)),
                 .texts = set.get("texts", int64_t(0)),
                 .cut = set.get("cut", int64_t(0)),
                 .first_cut = set.get("first_cut", std::string())};
  const Json variants = set.get("prompt_variants", Json(Json::array()));
  for (const Json& stored_variant : variants) {
    const Fields variant(stored_variant, place + ": prompt_variants");
    score.variants.emplace_back(variant.need<std::string>("instruction"), variant.need<double>("accuracy"));
  }
  if (score.rows < 1 || score.correct < 0 || score.correct > score.rows)
    fail(Exit::data, place, ": correct is ", score.correct, " of ", score.rows, " rows; evaluate again");
  return score;
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
  std::ranges::sort(scores, {}, [&](const SetScore& score) { return &task_of(score.name, tasks); });
  return {mean("overall"), mean("IND"),       mean("OOD"),       mean("classification"),
          mean("vqa"),     mean("retrieval"), mean("grounding"), std::move(scores)};
}

Summary chance_summary(const Summary& summary) {
  std::vector<Task> tasks;
  for (const SetScore& set : summary.sets) tasks.push_back(set.task);
  Summary chance = summarise(summary.sets, tasks, &SetScore::chance);
  for (SetScore& set : chance.sets)
    set.accuracy = set.chance, set.ties = set.cut = set.skipped = set.skipped_candidates = 0;
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
    Json& json_set = sets[set.name] = set_json(set);
    json_set["interval_95"] = bounds(estimates.sets[i]);
    json_set["meta_task"] = set.task.meta_task, json_set["split"] = set.task.split;
    json_set["optional"] = set.task.optional;
  }
  json["datasets"] = sets;
  json["precision"] = s.precision, json["device"] = s.device;
  if (!s.missing_sets.empty()) json["missing_sets"] = s.missing_sets;
  if (!s.model_sha256.empty()) json["model_sha256"] = s.model_sha256;
  json["options"] = Json::parse(s.options);
  return json.dump(2) + "\n";
}

Summary read_summary(const fs::path& folder) {
  const fs::path file = folder / "summary.json";
  if (!fs::is_directory(folder))
    fail(Exit::data, folder.string(), ": there is no such folder; name one that eval wrote (--encode_output_path)");
  if (!fs::exists(file))
    fail(Exit::data, folder.string(), ": is not a finished evaluation: it has no summary.json, which eval writes last");
  read_json(file);                                    // throws a clear error for damaged files
  const Json content = Json::parse(read_text(file));  // the sets in the order of the file
  const Fields fields(content, file.string());
  std::vector<SetScore> scores;
  std::vector<Task> tasks;
  const Json sets = fields.need("datasets", Json(Json::object()));
  for (const auto& [name, stored] : sets.items()) {
    const std::string place = file.string() + ": " + name;
    const Fields set(stored, place);
    tasks.push_back(
        {name, set.need<std::string>("meta_task"), set.need<std::string>("split"), set.get("optional", false)});
    scores.push_back(read_set_score(name, stored, place));
  }
  Summary summary = summarise(std::move(scores), tasks);
  summary.precision = fields.need<std::string>("precision"), summary.device = fields.get("device", std::string("cpu"));
  summary.model_sha256 = fields.get("model_sha256", std::string());
  for (const Json& set : fields.get("missing_sets", Json(Json::array())))
    if (set.is_string()) summary.missing_sets.push_back(set);
  const Json options = fields.get("options", Json(Json::object()));
  const Fields known(options, file.string() + ": options");
  EvalOptions().fields([&](const char* name, const auto& value, const char*) { known.get(name, Json(value)); });
  summary.options = options.dump();
  return summary;
}

int64_t num_candidates(const Summary& summary) {
  return Json::parse(summary.options).value("num_candidates", int64_t(0));
}

int64_t max_len(const Summary& summary) { return Json::parse(summary.options).value("max_len", int64_t(0)); }

}  // namespace vlm2vec
