// The tokens of a tokenizer: spellings by id, and ids by spelling.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/hash_index.h"

namespace vlm2vec {

// A token that is found in the text before the text is split into words.
struct AddedToken {
  std::string text;
  int32_t id;
  bool normalized = false;              // matched after the normaliser, in its own normalised form
  bool lstrip = false, rstrip = false;  // takes the white space before or behind it
};

class Vocabulary {
 public:
  explicit Vocabulary(std::vector<std::string> tokens);  // empty: no such id; throws Exit::data for equal ones

  int size() const { return int(tokens_.size()); }
  const std::string& token(int32_t id) const { return tokens_[size_t(id)]; }
  std::optional<int32_t> id_of(std::string_view token) const;

 private:
  std::vector<std::string> tokens_;
  HashIndex index_;
};

}  // namespace vlm2vec
