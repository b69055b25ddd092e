// Regular expressions as tokenizer.json has them: Oniguruma's, which PCRE2 reads once \s is spelled out. Letters and
// numbers are those of PCRE2's Unicode; one of Debian 12 knows version 14, Hugging Face's tokenizers know 16.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

class SearchPattern {
 public:
  explicit SearchPattern(const std::string& expression);  // throws Exit::data for a bad one
  struct Match {
    size_t begin, end;  // bytes
  };
  // Returns the matches from left to right, without overlap; an empty match never touches the one before. Throws
  // Exit::data if `text` is not UTF-8.
  std::vector<Match> matches(std::string_view text) const;

 private:
  std::string expression_;
  std::shared_ptr<void> code_;
};

}  // namespace vlm2vec
