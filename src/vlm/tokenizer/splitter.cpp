#include "vlm/tokenizer/splitter.h"

#include "vlm/tokenizer/pretokenizer.h"
#include "vlm/tokenizer/refusal.h"
#include "vlm/tokenizer/search_pattern.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// ByteLevel's own pattern, that of GPT-2.
constexpr const char* byte_level_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

}  // namespace

Splitter::Splitter(const json& pre_tokenizer) {
  const bool sequence = type_of(pre_tokenizer) == "Sequence";
  const auto steps = sequence ? pre_tokenizer.at("pretokenizers").get<std::vector<json>>() : std::vector{pre_tokenizer};
  if (steps.empty()) refuse("the pre_tokenizer has no steps");
  for (size_t i = 0; i < steps.size(); ++i) {
    const json& step = steps[i];
    const bool last = i + 1 == steps.size();
    const std::string type = type_of(step);
    if (type == "Split" && !last) {
      const json &pattern = step.at("pattern"), &behavior = step.at("behavior");
      if (!pattern.contains("Regex")) refuse("the split pattern is ", pattern);
      if (behavior != "Isolated" && behavior != "Removed") refuse("the split's behavior is ", behavior);
      const bool both = behavior == "Isolated", invert = step.value("invert", false);
      add(pattern["Regex"], both || invert, both || !invert);
    } else if (type == "ByteLevel" && last) {
      if (step.value("add_prefix_space", true)) refuse("the ByteLevel pre_tokenizer has add_prefix_space");
      if (step.value("use_regex", true)) add(byte_level_pattern, true, true);
    } else {
      refuse("the pre_tokenizer", sequence ? sentence("'s step ", i + 1, " of ", steps.size()) : "", " is ",
             shown(type));
    }
  }
}

void Splitter::add(const std::string& pattern, bool keeps_matches, bool keeps_gaps) {
  if (pattern == qwen2_split_pattern && keeps_matches && keeps_gaps) {  // many times faster, and no gaps
    steps_.push_back(split_words_into);
    return;
  }
  steps_.push_back([=, search = SearchPattern(pattern)](std::string_view text, Words& words) {
    const auto keep = [&](size_t begin, size_t end) {
      if (begin < end) words.push_back(text.substr(begin, end - begin));
    };
    size_t last = 0;
    for (const auto [begin, end] : search.matches(text)) {
      if (keeps_gaps) keep(last, begin);
      if (keeps_matches) keep(begin, end);
      last = end;
    }
    if (keeps_gaps) keep(last, text.size());
  });
}

std::vector<std::string_view> Splitter::words(std::string_view text) const {
  if (text.empty()) return {};
  Words words = {text};
  for (const auto& step : steps_) {
    Words finer;
    for (const std::string_view word : words) step(word, finer);
    words = std::move(finer);
  }
  return words;
}

}  // namespace vlm2vec
