// A text's words, as tokenizer.json's pre_tokenizer describes them.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/pattern.h"

namespace vlm2vec {

// A regular expression as tokenizer.json has it; throws Exit::data for one that PCRE2 would read differently.
Pattern search_pattern(const std::string& expression);

class Splitter {
 public:
  // Reads Split steps by a pattern (the matches, what is between them, or both), then ByteLevel, alone or as a
  // Sequence; Metaspace; BertPreTokenizer; null (one word). Anything else is refused by name.
  explicit Splitter(const nlohmann::json& pre_tokenizer);
  using Rewrite = std::function<std::string(std::string_view piece, bool begins_text)>;
  explicit Splitter(Rewrite rewrite) : rewrite_(std::move(rewrite)) {}  // what it returns is one word

  // Returns a piece of a text as the words have it: Metaspace puts marks in place of blanks and before the piece.
  std::string rewritten(std::string_view piece, bool begins_text) const {
    return rewrite_ ? rewrite_(piece, begins_text) : std::string(piece);
  }

  // Returns the words in order, none empty, as bytes of `text`; the model applies ByteLevel's alphabet.
  std::vector<std::string_view> words(std::string_view text) const;
  bool is_byte_level() const { return byte_level_; }

 private:
  using Words = std::vector<std::string_view>;
  void add(const std::string& pattern, bool keeps_matches, bool keeps_gaps);
  void add_metaspace(const nlohmann::json& step);

  bool byte_level_ = false;
  Rewrite rewrite_;
  std::vector<std::function<void(std::string_view, Words&)>> steps_;  // each appends the parts of a word
};

}  // namespace vlm2vec
