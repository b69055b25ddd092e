// Prints a comparison as a table and as JSON.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/text.h"
#include "mmeb/evaluation/comparison.h"

namespace vlm2vec {
namespace {

std::string p_text(double p) { return p < 0 ? "" : formatted(p < 0.001 ? "%.0e" : "%.3f", p); }

std::string line_text(const Comparison::Line& line, const std::string& title, size_t width) {
  const std::string interval = formatted("[%+.1f, %+.1f]", line.difference.low, line.difference.high);
  std::string text = title + std::string(width - title.size(), ' ');
  text += formatted("%8.1f%8.1f%+8.1f %16s%9lld%9lld%8s%8s", line.a, line.b, line.difference.value, interval.c_str(),
                    static_cast<long long>(line.only_a), static_cast<long long>(line.only_b), p_text(line.p).c_str(),
                    p_text(line.p_holm).c_str());
  return text.erase(text.find_last_not_of(' ') + 1) + "\n";
}

std::string names_text(const std::vector<std::string>& names, const std::string& folder) {
  return names.empty() ? "" : "Only " + folder + " has " + joined(names) + "\n";
}

nlohmann::ordered_json line_json(const Comparison::Line& line) {
  nlohmann::ordered_json json = {{"a", line.a},
                                 {"b", line.b},
                                 {"difference", line.difference.value},
                                 {"low", line.difference.low},
                                 {"high", line.difference.high},
                                 {"rows", line.rows},
                                 {"only_a", line.only_a},
                                 {"only_b", line.only_b},
                                 {"p", line.p}};
  if (line.p_holm >= 0) json["p_holm"] = line.p_holm, json["optional"] = line.optional;
  return json;
}

}  // namespace

std::string comparison_table(const Comparison& c) {
  size_t width = 18;
  for (const Comparison::Line& set : c.sets) width = std::max(width, set.name.size() + 8);
  std::string table = "Precision@1, %" + std::string(width - 14, ' ');
  table += formatted("%8s%8s%8s %16s%9s%9s%8s%8s\n", "A", "B", "B - A", "95 %", "only A", "only B", "p", "Holm");
  const std::string rule = std::string(width + 74, '-') + "\n";
  table += rule;
  bool optional = false;
  for (const Comparison::Line& set : c.sets) {
    optional |= set.optional;
    table += line_text(set, "  " + set.name + (set.optional ? " (+)" : ""), width);
  }
  table += rule;
  for (const Comparison::Line& group : c.groups) table += line_text(group, group.name, width);
  table +=
      "95 %: interval of the paired bootstrap. only A, only B: rows that only one evaluation has right. p: McNemar's "
      "exact test of these rows. Holm: p corrected for the number of sets. Groups: means over sets, sums of rows.\n";
  if (optional) table += "(+) optional, not counted in means\n";
  return table + names_text(c.missing_in_b, "A") + names_text(c.missing_in_a, "B");
}

std::string comparison_json(const Comparison& c) {
  nlohmann::ordered_json json = {{"datasets", nlohmann::ordered_json::object()},
                                 {"groups", nlohmann::ordered_json::object()},
                                 {"only_in_a", c.missing_in_b},
                                 {"only_in_b", c.missing_in_a}};
  for (const Comparison::Line& set : c.sets) json["datasets"][set.name] = line_json(set);
  for (const Comparison::Line& group : c.groups) json["groups"][group.name] = line_json(group);
  return json.dump();
}

}  // namespace vlm2vec
