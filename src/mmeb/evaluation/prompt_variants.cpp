#include "mmeb/evaluation/prompt_variants.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/files.h"
#include "io/nearest.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

const std::string kStoredImage = "<|image_1|>";

std::string without_trailing_space(const std::string& text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

// True for letters, digits and all bytes beyond ASCII.
bool is_in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80; }

// Returns the place after a first line of picture tokens, <|image_1|> <|image_2|>.
size_t begin_of_instruction(const std::string& query) {
  const size_t end = query.find('\n');
  const bool tokens = end != query.npos && query.starts_with(kStoredImage) &&
                      place_pictures(query.substr(0, end), 0, " ").text.find_first_not_of(' ') == std::string::npos;
  return tokens ? end + 1 : 0;
}

}  // namespace

PromptVariants read_prompt_variants(const std::filesystem::path& file) {
  const nlohmann::json content = read_json(file);
  if (!content.is_object() || content.empty())
    fail(Exit::data, file.string(), ": expected {\"Set\": [\"instruction\", ...]}, or \"*\" for every set");
  PromptVariants variants;
  for (const auto& [set, list] : content.items()) {
    if (!list.is_array() || list.empty())
      fail(Exit::data, file.string(), ": ", set, " is ", list.is_array() ? "empty" : list.type_name(),
           ", expected a list of instructions");
    for (const nlohmann::json& text : list) {
      if (!text.is_string() || without_trailing_space(text).empty())
        fail(Exit::data, file.string(), ": ", set, " has ",
             text.is_string() ? "an empty instruction" : text.type_name(), ", expected instructions");
      variants[set].push_back(text);
    }
  }
  return variants;
}

std::vector<std::string> variants_of(const PromptVariants& variants, const std::string& set) {
  for (const std::string& name : {set, std::string("*")})
    if (const auto found = variants.find(name); found != variants.end()) return found->second;
  return {};
}

void check_variant_sets(const PromptVariants& variants, const std::vector<std::string>& sets) {
  for (const auto& [set, list] : variants)
    if (set != "*" && std::find(sets.begin(), sets.end(), set) == sets.end())
      fail(Exit::usage, "--prompt_variants: ", set, " is not among the sets that are evaluated",
           nearest_hint(set, sets));
}

std::string with_instruction(const std::string& query, const std::string& stored, const std::string& wanted) {
  const size_t begin = begin_of_instruction(query);
  const std::string old = without_trailing_space(stored);
  if (query.compare(begin, old.size(), old) != 0)
    fail(Exit::data, "the query \"", query.substr(begin, 60), "\" does not begin with the instruction \"", old, "\"");
  const bool places_picture = wanted.find(kStoredImage) != wanted.npos;
  if (places_picture && begin == 0)
    fail(Exit::data, "the instruction \"", wanted, "\" has ", kStoredImage, ", but the query \"", query.substr(0, 60),
         "\" does not begin with it");
  return (places_picture ? "" : query.substr(0, begin)) + without_trailing_space(wanted) +
         query.substr(begin + old.size());
}

std::string common_instruction(const std::vector<std::string>& queries) {
  if (queries.empty()) return "";
  std::string common = queries[0].substr(begin_of_instruction(queries[0]));
  bool whole = true;  // every query is only the instruction
  for (const std::string& query : queries) {
    const std::string text = query.substr(begin_of_instruction(query));
    const auto [end, other] = std::mismatch(common.begin(), common.end(), text.begin(), text.end());
    whole &= end == common.end() && other == text.end();
    common.erase(end, common.end());
  }
  if (whole) return common;
  while (!common.empty() && is_in_word(common.back())) common.pop_back();
  // A common beginning of questions is not an instruction: cut at the last colon or end of a sentence, if any.
  for (size_t at = common.size(); at-- > 1;)
    if (std::isspace(static_cast<unsigned char>(common[at])) && std::strchr(":.?!", common[at - 1])) {
      common.resize(at + 1);
      break;
    }
  return common;
}

VariantSummary summarise_variants(const std::vector<double>& accuracies) {
  CHECK(!accuracies.empty(), "prompt variants: no accuracies");
  VariantSummary s;
  const double n = double(accuracies.size());
  for (const double a : accuracies) s.mean += a / n;
  for (const double a : accuracies) s.deviation += (a - s.mean) * (a - s.mean);
  s.deviation = n > 1 ? std::sqrt(s.deviation / (n - 1)) : 0;
  const auto [lowest, highest] = std::minmax_element(accuracies.begin(), accuracies.end());
  s.lowest = *lowest, s.highest = *highest;
  return s;
}

}  // namespace vlm2vec
