// Regular expressions, matched by PCRE2: Python's re in PEFT's configurations, Oniguruma's in tokenizer.json. Matching
// throws after a bounded number of steps.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

class Pattern {
 public:
  // Python's expressions match bytes. Oniguruma's match UTF-8, and their ^ and $ match at every line. Letters and
  // numbers are those of PCRE2's Unicode; one of Debian 12 knows version 14, Hugging Face's tokenizers know 16.
  enum class Syntax { python, oniguruma };
  struct Match {
    size_t begin, end;  // bytes
  };
  explicit Pattern(const std::string& expression, Syntax syntax = Syntax::python);  // throws Exit::data for a bad one
  bool matches_all(const std::string& text) const;                                  // re.fullmatch
  // Returns the group idx of a match at the beginning of the text (re.match) if it is a small number.
  std::optional<int> number(const std::string& text) const;
  // Returns the matches from left to right, without overlap; an empty match never touches the one before. Throws
  // Exit::data if the expression is Oniguruma's and `text` is not UTF-8.
  std::vector<Match> matches(std::string_view text) const;

 private:
  bool match(std::string_view text, size_t at, uint32_t options, void* data) const;
  std::string expression_;
  std::shared_ptr<void> code_;
};

}  // namespace vlm2vec
