// Byte-level byte-pair encoding as in Qwen2, from a Hugging Face tokenizer.json.
//   text -> pieces between added tokens -> NFC -> words (pretokenizer.h) -> bytes -> merges by rank
// Sennrich et al. 2016; bytes as in GPT-2 (Radford et al. 2019).
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "vlm/bpe_vocabulary.h"

namespace vlm2vec {

class Tokenizer {
 public:
  static Tokenizer load(const std::filesystem::path& model_dir);  // reads tokenizer.json
  explicit Tokenizer(BpeVocabulary vocabulary);

  // Added tokens are found in `text` wherever they are spelled out; nothing is put before or after. `text` is UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;

  int vocab_size() const { return int(vocabulary_.tokens.size()); }  // largest id + 1
  const std::string& token(int32_t id) const;                        // as the file spells it: bytes in GPT-2's alphabet
  std::optional<int32_t> id_of(std::string_view token) const;

 private:
  struct Ranked {
    int32_t rank, merged;
  };
  const Ranked* find_merge(int32_t left, int32_t right) const;
  const BpeVocabulary::AddedToken* added_token_at(std::string_view text) const;
  std::vector<int32_t> encode_word(std::string_view word) const;

  BpeVocabulary vocabulary_;                     // with the longest added token first
  std::unordered_map<uint64_t, Ranked> merges_;  // pair of ids -> what it becomes
  std::array<int32_t, 256> byte_ids_;            // byte -> id of its token
};

}  // namespace vlm2vec
