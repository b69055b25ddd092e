// Unigram (Kudo 2018): of all ways to spell a word with tokens, that with the greatest sum of scores.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "vlm/tokenizer/prefix_trie.h"
#include "vlm/tokenizer/token_model.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

class Unigram : public TokenModel {
 public:
  struct Options {
    std::optional<int32_t> unknown;  // for characters without a token; neighbouring ones share one
    bool byte_fallback = false;      // they become the tokens of their bytes, <0x00> ... <0xFF>, if all are there
    bool in_floats = false;          // sums are rounded to floats as in SentencePiece; else doubles as in tokenizers
  };
  // `scores`: by id; a token whose score is not a number is never part of a spelling.
  Unigram(std::shared_ptr<const Vocabulary> vocabulary, std::vector<double> scores, const Options& options);
  void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const override;

 private:
  struct Step {  // the best way to spell the word up to here
    double score = 0;
    int32_t begin = -1, id = -1;  // of its last token
  };
  void find_best(std::string_view word, std::vector<Step>& steps) const;
  void append_unknown(std::string_view characters, std::vector<int32_t>& ids) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::vector<double> scores_;
  Options options_;
  double unknown_score_ = 0;
  PrefixTrie trie_;
  std::array<int32_t, 256> byte_ids_;
};

}  // namespace vlm2vec
