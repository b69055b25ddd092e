// Byte-level byte-pair encoding as in Qwen2, from the tokenizer files of a Hugging Face folder.
//   text -> pieces between added tokens -> NFC -> pieces between added tokens that are "normalized" -> words
//        (pretokenizer.h) -> bytes -> merges by rank
// Sennrich et al. 2016; bytes as in GPT-2 (Radford et al. 2019).
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"

namespace vlm2vec {

class Tokenizer {
 public:
  // Reads tokenizer.json, or vocab.json, merges.txt and tokenizer_config.json.
  static Tokenizer load(const std::filesystem::path& model_dir);
  explicit Tokenizer(BpeVocabulary vocabulary);

  // Added tokens are found in `text` wherever they are spelled out; nothing is put before or after. `text` is UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;

  // encode() between the ids that the file's post-processor puts around every text (CLIP: <|startoftext|> and
  // <|endoftext|>; Qwen2: none), at most max_len in all (0: no limit). A longer text loses its last ids, never its ends.
  // The caller gives the limit (CLIP's processor: 77); `truncation` and model_max_length of the files are not read.
  std::vector<int32_t> encode_with_ends(std::string_view text, int64_t max_len = 0) const;
  const std::vector<int32_t>& begin_ids() const { return begin_; }
  const std::vector<int32_t>& end_ids() const { return end_; }

  int vocab_size() const { return int(vocabulary_.tokens.size()); }  // largest id + 1
  const std::string& token(int32_t id) const;                        // as the file spells it: bytes in GPT-2's alphabet
  std::optional<int32_t> id_of(std::string_view token) const;
  bool is_added(int32_t id) const;

 private:
  struct Workspace;                                       // of merging, kept from word to word
  int32_t find_merge(int32_t left, int32_t right) const;  // its rank, or HashIndex::none
  void encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const;

  // Added tokens that are matched in one pass.
  struct AddedTokens {
    std::vector<BpeVocabulary::AddedToken> tokens;  // the longest first
    std::array<bool, 256> begins = {};              // whether one of them begins with this byte
    void add(const BpeVocabulary::AddedToken& token);
    const BpeVocabulary::AddedToken* at(std::string_view text) const;
    template <class Piece>  // piece(text between two of them), and their ids go to `ids`
    void split(std::string_view text, std::vector<int32_t>& ids, Piece&& piece) const;
  };

  BpeVocabulary vocabulary_;
  TokenIndex index_;                   // of its tokens
  HashIndex merges_;                   // pair of ids -> rank
  std::array<int32_t, 256> byte_ids_;  // byte -> id of its token
  AddedTokens plain_, normalized_;     // as spelled in the text, and after it was brought to Form C
  std::vector<int32_t> begin_, end_;   // of every text
};

}  // namespace vlm2vec
