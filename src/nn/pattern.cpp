#include "nn/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tensor/error.h"

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
  code_.reset(
      pcre2_compile(bytes(expression), expression.size(), PCRE2_ANCHORED | PCRE2_ENDANCHORED, &error, &place, nullptr),
      [](void* code) { pcre2_code_free(static_cast<pcre2_code*>(code)); });
  if (!code_)
    fail(Exit::data, "not a regular expression at character ", place, " (", message(error),
         "): ", expression.substr(0, 80));
}

bool Pattern::matches_all(const std::string& text) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), pcre2_match_data_free);
  const int result = pcre2_match(code, bytes(text), text.size(), 0, 0, match.get(), nullptr);
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    fail(Exit::data, "the regular expression ", expression_.substr(0, 80), " cannot be matched (", message(result),
         ")");
  return result >= 0;
}

}  // namespace vlm2vec
