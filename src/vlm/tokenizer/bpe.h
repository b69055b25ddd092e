// Byte-pair encoding of a word (Sennrich et al. 2016): of its bytes in GPT-2's alphabet (Radford et al. 2019) or of its
// characters. The adjacent pair whose merge has the lowest rank becomes one token, until no pair has a merge.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"
#include "vlm/tokenizer/hash_index.h"
#include "vlm/tokenizer/token_model.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

class Bpe : public TokenModel {
 public:
  struct Options {
    bool byte_level = true;          // words are spelled in GPT-2's alphabet, in which every byte has a token
    std::string end_of_word;         // ends the spelling of a word's last token ("</w>" in CLIP)
    bool ignore_merges = false;      // a word that is a token stays whole (Llama-3)
    bool byte_fallback = false;      // an unknown character becomes tokens of its bytes, <0x00> ... <0xFF>
    std::optional<int32_t> unknown;  // becomes of any other; without it, they are left out
    bool fuse_unk = false;           // one token for neighbouring ones
  };
  // Throws Exit::data if a byte has no token.
  Bpe(std::shared_ptr<const Vocabulary> vocabulary, std::vector<BpeVocabulary::Merge> merges, const Options& options);
  void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const override;

 private:
  struct Workspace;                                       // memory for merging, kept from word to word
  int32_t find_merge(int32_t left, int32_t right) const;  // its rank, or HashIndex::none
  std::optional<int32_t> id_of(std::string_view word) const;  // as a whole
  void spell_bytes(std::string_view word, Workspace& workspace) const;
  void spell_characters(std::string_view word, Workspace& workspace) const;
  void merge(Workspace& workspace) const;

  std::shared_ptr<const Vocabulary> vocabulary_;
  Options options_;
  std::vector<BpeVocabulary::Merge> merges_;
  HashIndex ranks_;                                    // pair of ids -> rank
  std::array<int32_t, 256> byte_ids_, last_byte_ids_;  // byte -> id of its token, within a word and at its end; or none
};

}  // namespace vlm2vec
