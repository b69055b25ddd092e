// SentencePiece's map of characters ("precompiled_charsmap"): strings and what they become, in a double-array trie
// (Aoe 1989) as Darts-clone lays it out.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

class Charsmap {
 public:
  // `bytes`: the size of the trie, the trie, and the replacements, each ended by a zero; none: an empty map. Throws
  // Exit::data for a damaged one.
  explicit Charsmap(std::string_view bytes);

  struct Rule {
    size_t length;  // of the text that it replaces
    std::string_view replacement;
  };
  std::optional<Rule> longest(std::string_view text) const;  // of those with which `text` begins
  std::optional<Rule> shortest(std::string_view text) const;

  // As tokenizers' Precompiled: a grapheme of fewer than six bytes becomes what its shortest rule says, whatever else
  // it has; those without a rule, and longer ones, go character by character.
  std::string by_graphemes(std::string_view text) const;

 private:
  template <class Found>
  void find(std::string_view text, Found&& found) const;  // found(rule) returns whether to go on

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace vlm2vec
