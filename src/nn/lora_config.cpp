#include "nn/lora_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <optional>

#include "nn/tensor_names.h"
#include "tensor/error.h"

namespace vlm2vec {
namespace {

bool names(const std::vector<std::string>& list, const std::string& path) {
  return std::ranges::any_of(list, [&](const auto& name) { return path == name || path.ends_with("." + name); });
}

template <class T>
T looked_up(const std::vector<PatternEntry<T>>& entries, const std::string& path, T otherwise) {
  for (const auto& entry : entries)
    if (entry.fits(path, entry.spelling)) return entry.value;
  return otherwise;
}

// The layer's number as layers_to_transform means it.
std::optional<int> layer_number(const std::vector<std::string>& patterns, const std::string& path) {
  const auto number = [&](const std::string& before) { return Pattern(before + R"(\.(?P<idx>\d+)\.)").number(path); };
  if (patterns.empty()) return number(R"(.*?\.[^.]*)");
  for (const std::string& pattern : patterns)
    if (const auto found = number(R"((?:^|.*?\.))" + pattern)) return found;
  return std::nullopt;
}

// PEFT's check_target_module_exists. `called`: what the list may call the layer; `path`: what expressions see.
bool chosen(const LoraConfig& c, const std::vector<std::string>& called, const std::string& path) {
  const auto named = [&](const auto& list) {
    return std::ranges::any_of(called, [&](const auto& name) { return names(list, name); });
  };
  if (!c.exclude_pattern.empty() ? Pattern(c.exclude_pattern).matches_all(path) : named(c.exclude_modules))
    return false;
  if (c.target_pattern == kAllLinear) return true;
  if (!c.target_pattern.empty()) return Pattern(c.target_pattern).matches_all(path);
  if (!named(c.target_modules)) return false;
  const auto has = [](const auto& list, const auto& value) { return std::ranges::find(list, value) != list.end(); };
  if (c.layers_to_transform.empty() || has(c.target_modules, path)) return true;  // a whole path, whatever its number
  return std::ranges::any_of(called, [&](const auto& name) {
    const std::optional<int> number = layer_number(c.layers_pattern, name);
    return number && has(c.layers_to_transform, *number);
  });
}

template <class T>
void settle(std::vector<PatternEntry<T>>& entries, const std::vector<std::string>& paths, Spelling first,
            const std::string& field, std::vector<std::string>& dead) {
  for (auto& entry : entries) {
    std::vector<Spelling> tried = {first};
    tried.insert(tried.end(), std::begin(kSpellings), std::end(kSpellings));
    const auto found = std::ranges::find_if(tried, [&](Spelling spelling) {
      return std::ranges::any_of(paths, [&](const auto& path) { return entry.fits(path, spelling); });
    });
    if (found != tried.end()) entry.spelling = *found;
    else dead.push_back(field + " \"" + entry.expression + "\"");
  }
}

}  // namespace

bool is_all_linear(const std::string& target) {
  return std::ranges::equal(target, std::string_view(kAllLinear),
                            [](char a, char b) { return std::tolower(uint8_t(a)) == b; });
}

std::string spelled(const std::string& path, Spelling spelling) {
  if (spelling == Spelling::official) return path;
  const std::string nested = nested_name(path);
  return spelling == Spelling::automodel && nested.starts_with("model.") ? nested.substr(6) : nested;
}

Spelling spelling_of(const std::string& option) {
  if (option == "hub") return Spelling::hub;
  if (option == "official") return Spelling::official;
  fail(Exit::usage, "--adapter_names: got \"", option, "\", expected hub or official");
}

bool LoraConfig::targets(const std::string& path) const {
  std::vector<std::string> called;
  for (const Spelling s : kSpellings) called.push_back(spelled(path, s));
  return chosen(*this, called, spelled(path, spelling));
}

int LoraConfig::rank_of(const std::string& path) const { return looked_up(rank_pattern, path, rank); }
double LoraConfig::alpha_of(const std::string& path) const { return looked_up(alpha_pattern, path, alpha); }

double LoraConfig::scale_of(const std::string& path) const {
  const double r = rank_of(path);
  return alpha_of(path) / (use_rslora ? std::sqrt(r) : r);
}

std::vector<std::string> LoraConfig::settle_patterns(const std::vector<std::string>& paths) {
  std::vector<std::string> dead;
  settle(rank_pattern, paths, spelling, "rank_pattern", dead);
  settle(alpha_pattern, paths, spelling, "alpha_pattern", dead);
  return dead;
}

LoraConfig LoraConfig::written_for(const std::vector<std::string>& adapted, const std::vector<std::string>& all,
                                   Spelling to) const {
  LoraConfig same = *this, listed = *this;
  for (auto& entry : same.rank_pattern) entry.spelling = to;
  for (auto& entry : same.alpha_pattern) entry.spelling = to;
  listed.target_modules.clear(), listed.target_pattern.clear(), listed.exclude_modules.clear();
  listed.exclude_pattern.clear(), listed.layers_to_transform.clear(), listed.layers_pattern.clear();
  listed.rank_pattern.clear(), listed.alpha_pattern.clear();
  bool equal = exclude_modules.empty() && exclude_pattern.empty() && layers_to_transform.empty();
  for (const std::string& path : all) {
    const std::string name = spelled(path, to);
    const bool meant = std::ranges::find(adapted, path) != adapted.end();
    equal = equal && meant == chosen(*this, {name}, name);
    if (!meant) continue;
    equal = equal && same.rank_of(path) == rank_of(path) && same.alpha_of(path) == alpha_of(path);
    listed.target_modules.push_back(name);
    if (rank_of(path) != rank) listed.rank_pattern.push_back({name, rank_of(path)});
    if (alpha_of(path) != alpha) listed.alpha_pattern.push_back({name, alpha_of(path)});
  }
  return equal ? *this : listed;
}

}  // namespace vlm2vec
