#include "vlm/tokenizer/search_pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstring>

#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {
namespace {

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

PCRE2_SPTR bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

[[noreturn]] void refuse_pattern(const std::string& expression, int error) {
  char message[200] = "";
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
  fail(Exit::data, "the pattern ", shown(expression), " cannot be used: ", message);
}

}  // namespace

SearchPattern::SearchPattern(const std::string& expression) : expression_(expression) {
  const std::string spelled = with_white_space_spelled_out(expression);
  int error = 0;
  PCRE2_SIZE place = 0;
  constexpr uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;  // ^ and $ as Oniguruma has them
  pcre2_code* code = pcre2_compile(bytes(spelled), spelled.size(), options, &error, &place, nullptr);
  if (!code) refuse_pattern(expression, error);
  code_.reset(code, [](void* c) { pcre2_code_free(static_cast<pcre2_code*>(c)); });
}

std::vector<SearchPattern::Match> SearchPattern::matches(std::string_view text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                                 &pcre2_match_data_free);
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(data.get());
  std::vector<Match> matches;
  for (size_t at = 0; at <= text.size();) {
    const uint32_t checked = at > 0 ? PCRE2_NO_UTF_CHECK : 0;
    const int result = pcre2_match(code, bytes(text), text.size(), at, checked, data.get(), nullptr);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result <= PCRE2_ERROR_UTF8_ERR1 && result >= PCRE2_ERROR_UTF8_ERR21) not_utf8(pcre2_get_startchar(data.get()));
    if (result < 0) refuse_pattern(expression_, result);
    if (found[0] == found[1] && !matches.empty() && matches.back().end == found[1]) {
      do ++at;
      while (at < text.size() && (text[at] & 0xC0) == 0x80);  // the next character's first byte
    } else {
      matches.push_back({found[0], at = found[1]});
    }
  }
  return matches;
}

}  // namespace vlm2vec
