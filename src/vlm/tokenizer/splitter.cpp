#include "vlm/tokenizer/splitter.h"

#include <algorithm>
#include <cstring>

#include "vlm/tokenizer/bert.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/pretokenizer.h"
#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// ByteLevel's own pattern, that of GPT-2.
constexpr const char* byte_level_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// \s and \S become Unicode's White_Space: PCRE2's \s has U+180E as well. Refuses all that PCRE2 understands
// differently: a class within a class; \h, which is a hexadecimal digit; \w and \b, which include marks.
std::string with_white_space_spelled_out(const std::string& expression) {
  static const std::string white = R"(\t-\r\x{85}\p{Z})";
  std::string spelled;
  bool in_class = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const std::string_view pair = std::string_view(expression).substr(i, 2);
    if (pair == "\\s") spelled += in_class ? white : "[" + white + "]";
    else if (pair == "\\S" && !in_class) spelled += "[^" + white + "]";
    else if (in_class && (pair == "\\S" || pair == "&&" || pair[0] == '['))
      refuse("the pattern ", shown(expression), " has ", shown(pair), " within a class");
    else if (pair.size() == 2 && pair[0] == '\\' && std::strchr("hHwWbB", pair[1]))
      refuse("the pattern ", shown(expression), " has ", shown(pair));
    else spelled += pair[0] == '\\' ? pair : pair.substr(0, 1);
    if (pair[0] == '\\') ++i;
    else if (pair[0] == '[') in_class = true;
    else if (pair[0] == ']') in_class = false;
  }
  return spelled;
}

}  // namespace

Pattern search_pattern(const std::string& expression) {
  return Pattern(with_white_space_spelled_out(expression), Pattern::Syntax::oniguruma);
}

Splitter::Splitter(const json& pre_tokenizer) {
  if (pre_tokenizer.is_null()) return;
  if (type_of(pre_tokenizer) == "Metaspace") {
    add_metaspace(pre_tokenizer);
    return;
  }
  if (type_of(pre_tokenizer) == "BertPreTokenizer") {
    steps_.push_back(split_bert_words_into);
    return;
  }
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
      byte_level_ = true;
    } else {
      refuse("the pre_tokenizer", sequence ? sentence("'s step ", i + 1, " of ", steps.size()) : "", " is ",
             shown(type));
    }
  }
}

// Before there was a prepend_scheme, add_prefix_space (true unless it is given) meant "always" or "never".
void Splitter::add_metaspace(const json& step) {
  const std::string mark = step.at("replacement");
  const bool prefix = step.value("add_prefix_space", true);
  const std::string scheme = step.contains("prepend_scheme") ? step["prepend_scheme"] : prefix ? "always" : "never";
  if (scheme != "always" && scheme != "first" && scheme != "never")
    refuse("the Metaspace pre_tokenizer has prepend_scheme ", shown(scheme));
  if (mark.empty()) refuse("the Metaspace pre_tokenizer has an empty replacement");
  rewrite_ = [mark, scheme](std::string_view piece, bool begins_text) {
    const std::string text = replaced(piece, " ", mark);
    const bool marks = scheme == "always" || (scheme == "first" && begins_text);
    return marks && !text.empty() && !text.starts_with(mark) ? mark + text : text;
  };
  if (!step.value("split", true)) return;
  steps_.push_back([mark](std::string_view text, Words& words) {  // a word begins at every mark
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
      end = std::min(text.find(mark, begin + 1), text.size());
      words.push_back(text.substr(begin, end - begin));
    }
  });
}

void Splitter::add(const std::string& pattern, bool keeps_matches, bool keeps_gaps) {
  const int most_digits = pattern == qwen2_split_pattern ? 1 : pattern == llama3_split_pattern ? 3 : 0;
  if (most_digits > 0 && keeps_matches && keeps_gaps) {  // many times faster, and no gaps
    steps_.push_back([=](std::string_view text, Words& words) { split_words_into(text, words, most_digits); });
    return;
  }
  steps_.push_back([=, search = search_pattern(pattern)](std::string_view text, Words& words) {
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
