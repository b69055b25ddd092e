#include "mmeb/registry/registry.h"

#include <nlohmann/json.hpp>

namespace vlm2vec {

const std::vector<RegisteredSet>& registered_sets() {
  static const std::vector<RegisteredSet> sets = [] {
    std::vector<RegisteredSet> list;
    const auto content = nlohmann::json::parse(kMmebJson);
    for (const auto& s : content.at("sets")) {
      const int64_t candidates = s.at("candidates");
      list.push_back({s.at("name"), s.value("train_name", s.at("name")), s.at("meta_task"), s.at("split"),
                      s.at("query_type"), s.at("target_type"), candidates, s.value("released_candidates", candidates),
                      s.at("query"), s.value("train_query", s.at("query")), s.at("target")});
    }
    return list;
  }();
  return sets;
}

const RegisteredSet* registered(const std::string& name) {
  for (const RegisteredSet& set : registered_sets())
    if (set.name == name || set.train_name == name) return &set;
  return nullptr;
}

std::string own_words(const std::string& text, const std::string& form) {
  const size_t open = form.find('{'), close = form.find('}');
  const std::string before = form.substr(0, open), after = close == form.npos ? "" : form.substr(close + 1);
  if (open == form.npos) return text == form ? "" : text;
  if (text.size() < before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return text;
  return text.substr(before.size(), text.size() - before.size() - after.size());
}

const std::vector<PublishedResult>& published_results() {
  static const std::vector<PublishedResult> results = [] {
    std::vector<PublishedResult> list;
    const auto content = nlohmann::json::parse(kPublishedJson);
    for (const auto& r : content.at("results"))
      list.push_back({r.at("model"), r.at("source"), r.value("note", ""), r.at("averages"),
                      r.value("datasets", std::map<std::string, double>())});
    return list;
  }();
  return results;
}

const std::vector<Ablation>& published_ablations() {
  static const std::vector<Ablation> ablations = [] {
    std::vector<Ablation> list;
    const auto content = nlohmann::json::parse(kPublishedJson);
    for (const auto& a : content.at("ablations"))
      list.push_back(
          {a.at("subject"), a.at("value"), a.at("setting"), a.at("source"), a.value("note", ""), a.at("averages")});
    return list;
  }();
  return ablations;
}

std::vector<PublishedRecall> published_flickr30k() {
  std::vector<PublishedRecall> list;
  const auto content = nlohmann::json::parse(kPublishedJson);
  for (const auto& r : content.at("flickr30k"))
    list.push_back({r.at("model"), r.at("source"), r.at("i2t"), r.at("t2i")});
  return list;
}

std::vector<std::pair<std::string, std::vector<std::string>>> leaderboard_sets() {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups = {{"image", {}}};
  for (const RegisteredSet& set : registered_sets()) groups[0].second.push_back(set.name);
  const auto content = nlohmann::json::parse(kMmebJson);
  for (const char* group : {"video", "visdoc"}) groups.emplace_back(group, content.at("leaderboard").at(group));
  return groups;
}

}  // namespace vlm2vec
