#include "nn/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <charconv>

#include "io/error.h"

namespace vlm2vec {
namespace {

PCRE2_SPTR bytes(const std::string& text) { return reinterpret_cast<PCRE2_SPTR>(text.c_str()); }

std::string message(int error) {
  std::string text(200, '\0');
  const int length = pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text.data()), text.size());
  text.resize(size_t(std::max(length, 0)));
  return text;
}

}  // namespace

Pattern::Pattern(const std::string& expression) : expression_(expression) {
  int error = 0;
  PCRE2_SIZE place = 0;
  code_.reset(pcre2_compile(bytes(expression), expression.size(), PCRE2_ANCHORED, &error, &place, nullptr),
              [](void* code) { pcre2_code_free(static_cast<pcre2_code*>(code)); });
  if (!code_)
    fail(Exit::data, "not a regular expression at character ", place, " (", message(error),
         "): ", expression.substr(0, 80));
}

bool Pattern::matches_all(const std::string& text) const { return match(text, PCRE2_ENDANCHORED) != nullptr; }

std::optional<int> Pattern::number(const std::string& text) const {
  const auto found = match(text, 0);
  PCRE2_UCHAR* digits = nullptr;
  PCRE2_SIZE length = 0;
  auto* data = static_cast<pcre2_match_data*>(found.get());
  if (!found || pcre2_substring_get_byname(data, bytes("idx"), &digits, &length) != 0) return std::nullopt;
  int value = 0;
  const auto* begin = reinterpret_cast<const char*>(digits);
  const auto [end, error] = std::from_chars(begin, begin + length, value);
  pcre2_substring_free(digits);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

// Returns the data of a match at the beginning of the text; null without a match.
std::shared_ptr<void> Pattern::match(const std::string& text, uint32_t options) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::shared_ptr<void> data(pcre2_match_data_create_from_pattern(code, nullptr),
                                   [](void* d) { pcre2_match_data_free(static_cast<pcre2_match_data*>(d)); });
  const int result =
      pcre2_match(code, bytes(text), text.size(), 0, options, static_cast<pcre2_match_data*>(data.get()), nullptr);
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    fail(Exit::data, "the regular expression ", expression_.substr(0, 80), " cannot be matched (", message(result),
         ")");
  return result >= 0 ? data : nullptr;
}

}  // namespace vlm2vec
