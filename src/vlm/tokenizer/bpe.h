// Byte-pair encoding of a word's bytes in GPT-2's alphabet (Sennrich et al. 2016; Radford et al. 2019). The adjacent
// pair whose merge has the lowest rank becomes one token, until no pair has a merge.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"
#include "vlm/tokenizer/hash_index.h"
#include "vlm/tokenizer/token_model.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

class Bpe : public TokenModel {
 public:
  // `end_of_word` ends the spelling of a word's last token ("</w>" in CLIP). Throws Exit::data if a byte has no token.
  Bpe(const Vocabulary& vocabulary, std::vector<BpeVocabulary::Merge> merges, std::string_view end_of_word = "");
  void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const override;

 private:
  struct Workspace;                                       // memory for merging, kept from word to word
  int32_t find_merge(int32_t left, int32_t right) const;  // its rank, or HashIndex::none
  void encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const;

  std::vector<BpeVocabulary::Merge> merges_;
  HashIndex ranks_;                                    // pair of ids -> rank
  std::array<int32_t, 256> byte_ids_, last_byte_ids_;  // byte -> id of its token, within a word and at its end
};

}  // namespace vlm2vec
