#include "nn/lora_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <optional>

#include "io/error.h"
#include "nn/tensor_names.h"

namespace vlm2vec {
namespace {

bool is_named(const std::vector<std::string>& list, const std::string& path) {
  return std::ranges::any_of(list, [&](const auto& name) { return path == name || path.ends_with("." + name); });
}

template <class T>
T looked_up(const std::vector<PatternEntry<T>>& entries, const std::string& path, T otherwise) {
  for (const auto& entry : entries)
    if (entry.pattern.matches_all(path)) return entry.value;
  return otherwise;
}

// Returns the layer's number in the sense of layers_to_transform.
std::optional<int> layer_number(const std::vector<std::string>& patterns, const std::string& path) {
  const auto number = [&](const std::string& before) { return Pattern(before + R"(\.(?P<idx>\d+)\.)").number(path); };
  if (patterns.empty()) return number(R"(.*?\.[^.]*)");
  for (const std::string& pattern : patterns)
    if (const auto found = number(R"((?:^|.*?\.))" + pattern)) return found;
  return std::nullopt;
}

// PEFT's check_target_module_exists for a path in the configuration's spelling.
bool chosen(const LoraConfig& c, const std::string& path) {
  if (!c.exclude_pattern.empty() ? Pattern(c.exclude_pattern).matches_all(path) : is_named(c.exclude_modules, path))
    return false;
  if (c.target_pattern == kAllLinear) return true;
  if (!c.target_pattern.empty()) return Pattern(c.target_pattern).matches_all(path);
  if (!is_named(c.target_modules, path)) return false;
  const auto has = [](const auto& list, const auto& value) { return std::ranges::find(list, value) != list.end(); };
  if (c.layers_to_transform.empty() || has(c.target_modules, path)) return true;  // a whole path, whatever its number
  const std::optional<int> number = layer_number(c.layers_pattern, path);
  return number && has(c.layers_to_transform, *number);
}

}  // namespace

bool is_all_linear(const std::string& target) {
  return std::ranges::equal(target, std::string_view(kAllLinear),
                            [](char a, char b) { return std::tolower(uint8_t(a)) == b; });
}

std::string spelled(const std::string& path, Spelling spelling, const TensorNames& names) {
  if (spelling == Spelling::official) return path;
  const std::string nested = nested_name(path, names);
  return spelling == Spelling::automodel && nested.starts_with("model.") ? nested.substr(6) : nested;
}

Spelling spelling_of(const std::string& option) {
  if (option == "hub") return Spelling::hub;
  if (option == "official") return Spelling::official;
  fail(Exit::usage, "--adapter_names: got \"", option, "\", expected hub or official");
}

bool LoraConfig::targets(const std::string& path) const { return chosen(*this, spelled(path)); }

int LoraConfig::rank_of(const std::string& path) const { return looked_up(rank_pattern, spelled(path), rank); }
double LoraConfig::alpha_of(const std::string& path) const { return looked_up(alpha_pattern, spelled(path), alpha); }

double LoraConfig::scale_of(const std::string& path) const {
  const double r = rank_of(path);
  return alpha_of(path) / (use_rslora ? std::sqrt(r) : r);
}

std::vector<std::string> LoraConfig::dead_entries(const std::vector<std::string>& adapted,
                                                  const std::vector<std::string>& all) const {
  std::vector<std::string> dead;
  const auto note = [&](const char* field, const std::string& entry, const auto& paths, const char* what,
                        const auto& fits) {
    if (std::ranges::none_of(paths, [&](const auto& path) { return fits(spelled(path)); }))
      dead.push_back(sentence(field, " \"", entry, "\" fits no layer of the ", what));
  };
  const auto by = [](const Pattern& pattern) {
    return [&](const std::string& path) { return pattern.matches_all(path); };
  };
  for (const auto& entry : rank_pattern) note("rank_pattern", entry.expression, adapted, "adapter", by(entry.pattern));
  for (const auto& entry : alpha_pattern)
    note("alpha_pattern", entry.expression, adapted, "adapter", by(entry.pattern));
  for (const std::string& name : exclude_modules)
    note("exclude_modules", name, all, "model", [&](const auto& path) { return is_named({name}, path); });
  if (!exclude_pattern.empty()) note("exclude_modules", exclude_pattern, all, "model", by(Pattern(exclude_pattern)));
  if (!layers_pattern.empty() && layers_to_transform.empty())
    dead.push_back("layers_pattern has no effect without layers_to_transform");
  return dead;
}

LoraConfig LoraConfig::written_for(const std::vector<std::string>& adapted, const std::vector<std::string>& all,
                                   Spelling to) const {
  LoraConfig same = *this, listed = *this;
  same.spelling = listed.spelling = to;
  listed.target_modules.clear(), listed.target_pattern.clear(), listed.exclude_modules.clear();
  listed.exclude_pattern.clear(), listed.layers_to_transform.clear(), listed.layers_pattern.clear();
  listed.rank_pattern.clear(), listed.alpha_pattern.clear();
  bool equal = exclude_modules.empty() && exclude_pattern.empty() && layers_to_transform.empty();
  for (const std::string& path : all) {
    const std::string name = vlm2vec::spelled(path, to, *names);
    const bool meant = std::ranges::find(adapted, path) != adapted.end();
    equal = equal && meant == same.targets(path);
    if (!meant) continue;
    equal = equal && same.rank_of(path) == rank_of(path) && same.alpha_of(path) == alpha_of(path);
    listed.target_modules.push_back(name);
    if (rank_of(path) != rank) listed.rank_pattern.push_back({name, rank_of(path)});
    if (alpha_of(path) != alpha) listed.alpha_pattern.push_back({name, alpha_of(path)});
  }
  return equal ? same : listed;
}

}  // namespace vlm2vec
