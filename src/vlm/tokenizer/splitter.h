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
  // Sequence; Metaspace; null (one word). Anything else is refused by name.
  explicit Splitter(const nlohmann::json& pre_tokenizer);

  // Returns a piece as Metaspace spells it: a mark in place of every blank and, by its scheme, before the piece.
  std::string marked(std::string_view piece, bool begins_text) const;

  // Returns the words in order, none empty, as bytes of `text`; the model applies ByteLevel's alphabet.
  std::vector<std::string_view> words(std::string_view text) const;
  bool is_byte_level() const { return byte_level_; }

 private:
  using Words = std::vector<std::string_view>;
  void add(const std::string& pattern, bool keeps_matches, bool keeps_gaps);
  void add_metaspace(const nlohmann::json& step);

  bool byte_level_ = false;
  std::string mark_;  // empty: no Metaspace
  enum class Marks { always, first, never } marks_ = Marks::always;
  std::vector<std::function<void(std::string_view, Words&)>> steps_;  // each appends the parts of a word
};

}  // namespace vlm2vec
