// Regular expressions of PEFT's configurations (Python's re; PCRE2 reads the same patterns). Matching throws after a
// bounded number of steps.
#pragma once
#include <memory>
#include <optional>
#include <string>

namespace vlm2vec {

class Pattern {
 public:
  explicit Pattern(const std::string& expression);  // Exit::data if it is not a regular expression
  bool matches_all(const std::string& text) const;  // re.fullmatch
  // Returns the group idx of a match at the beginning of the text (re.match) if it is a small number.
  std::optional<int> number(const std::string& text) const;

 private:
  std::shared_ptr<void> match(const std::string& text, uint32_t options) const;
  std::string expression_;
  std::shared_ptr<void> code_;
};

}  // namespace vlm2vec
