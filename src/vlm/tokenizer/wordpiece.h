// WordPiece (Wu et al. 2016): the longest token that a word begins with, then the longest with which the rest begins.
#pragma once
#include <memory>
#include <string>

#include "vlm/tokenizer/prefix_trie.h"
#include "vlm/tokenizer/token_model.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

class WordPiece : public TokenModel {
 public:
  struct Options {
    int32_t unknown;              // for a whole word that cannot be spelled
    std::string prefix = "##";    // begins the spelling of a token within a word
    size_t most_characters = 100;  // a longer word is unknown
  };
  WordPiece(const Vocabulary& vocabulary, Options options);
  void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const override;

 private:
  bool spell(std::string_view word, std::vector<int32_t>& ids) const;

  Options options_;
  PrefixTrie first_, later_;  // tokens at the beginning of a word, and within one, without their prefix
};

}  // namespace vlm2vec
