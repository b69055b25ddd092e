#include "io/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <charconv>

#include "io/error.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

PCRE2_SPTR bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

std::string message(int error) {
  char text[200] = "";
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
  return text;
}

}  // namespace

Pattern::Pattern(const std::string& expression, Syntax syntax) : expression_(one_line(expression)) {
  int error = 0;
  PCRE2_SIZE place = 0;
  const uint32_t options = syntax == Syntax::python ? 0 : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
  code_.reset(pcre2_compile(bytes(expression), expression.size(), options, &error, &place, nullptr),
              [](void* code) { pcre2_code_free(static_cast<pcre2_code*>(code)); });
  if (!code_)
    fail(Exit::data, "not a regular expression at character ", place, " (", message(error), "): ", expression_);
}

bool Pattern::matches_all(const std::string& text) const {
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  return match(text, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, data.get());
}

std::optional<int> Pattern::number(const std::string& text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const MatchData data(pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  const int group = pcre2_substring_number_from_name(code, bytes("idx"));
  if (!match(text, 0, PCRE2_ANCHORED, data.get()) || group < 0) return std::nullopt;
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(data.get()) + 2 * group;
  if (found[0] == PCRE2_UNSET) return std::nullopt;
  int value = 0;
  const auto error = std::from_chars(text.data() + found[0], text.data() + found[1], value).ec;
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::vector<Pattern::Match> Pattern::matches(std::string_view text) const {
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(data.get());
  std::vector<Match> matches;
  for (size_t at = 0; at <= text.size() && match(text, at, at > 0 ? PCRE2_NO_UTF_CHECK : 0, data.get());) {
    if (found[0] == found[1] && !matches.empty() && matches.back().end == found[1]) {
      do ++at;
      while (at < text.size() && (text[at] & 0xC0) == 0x80);  // the next character's first byte
    } else {
      matches.push_back({found[0], at = found[1]});
    }
  }
  return matches;
}

bool Pattern::match(std::string_view text, size_t at, uint32_t options, void* data) const {
  auto* found = static_cast<pcre2_match_data*>(data);
  const int result = pcre2_match(static_cast<const pcre2_code*>(code_.get()), bytes(text), text.size(), at, options,
                                 found, nullptr);
  if (result <= PCRE2_ERROR_UTF8_ERR1 && result >= PCRE2_ERROR_UTF8_ERR21) not_utf8(pcre2_get_startchar(found));
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    fail(Exit::data, "the regular expression ", expression_, " cannot be matched (", message(result), ")");
  return result >= 0;
}

}  // namespace vlm2vec
