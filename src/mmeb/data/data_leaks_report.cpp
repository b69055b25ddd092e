// Prints the report of `data leaks` as a table and as JSON.
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "mmeb/data/data_leaks.h"

namespace vlm2vec {

std::string leaks_table(const LeakReport& report) {
  const auto kinds = {&report.queries, &report.positives, &report.pairs, &report.pictures, &report.near};
  std::vector<std::vector<std::string>> table = {{"what", "in A", "in B", "shared", "of B"}};
  for (const LeakKind* kind : kinds)
    table.push_back({kind->name, sentence(kind->in_a), sentence(kind->in_b), sentence(kind->shared),
                     kind->in_b ? percent(double(kind->shared) / double(kind->in_b)) : "-"});
  std::string text = text_table(table);
  const int64_t plain_a = report.pictures.in_a - report.near.in_a, plain_b = report.pictures.in_b - report.near.in_b;
  if (plain_a + plain_b > 0)
    text += sentence("pictures, near: without ", plain_a, " of A and ", plain_b,
                     " of B, which are too plain to be compared\n");
  for (const LeakKind* kind : kinds) {
    if (kind->shared > 0) text += sentence("\n", kind->name, kind->shared > 5 ? ", the first five:\n" : ":\n");
    for (const Leak& leak : kind->first)
      text += sentence("  A ", leak.in_a, ", B ", leak.in_b,
                       leak.distance ? sentence(", ", leak.distance, " of 64 bits differ") : "", ": ", leak.what, "\n");
  }
  if (report.unreadable > 0) text += sentence("\n", report.unreadable, " pictures could not be compared:\n");
  for (const std::string& error : report.first_unreadable) text += "  " + error + "\n";
  return text;
}

nlohmann::ordered_json leaks_json(const LeakReport& report) {
  nlohmann::ordered_json json;
  const std::pair<const char*, const LeakKind*> kinds[] = {{"query_texts", &report.queries},
                                                           {"positive_texts", &report.positives},
                                                           {"pairs", &report.pairs},
                                                           {"equal_pictures", &report.pictures},
                                                           {"near_pictures", &report.near}};
  for (const auto& [name, kind] : kinds) {
    json[name] = {{"in_a", kind->in_a}, {"in_b", kind->in_b}, {"shared", kind->shared}};
    json[name]["first"] = nlohmann::ordered_json::array();
    for (const Leak& leak : kind->first) {
      json[name]["first"].push_back({{"what", leak.what}, {"a", leak.in_a}, {"b", leak.in_b}});
      if (leak.distance) json[name]["first"].back()["distance"] = leak.distance;
    }
  }
  json["unreadable_pictures"] = report.unreadable;
  json["leaks"] = report.leaks();
  return json;
}

}  // namespace vlm2vec
