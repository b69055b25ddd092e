// What a byte-level BPE tokenizer consists of, and its file formats: Hugging Face's tokenizer.json as Qwen2 has it, and
// the three files that came before it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/hash_index.h"

namespace vlm2vec {

struct BpeVocabulary {
  struct Merge {
    int32_t left, right, merged;  // ids
  };
  struct AddedToken {
    std::string text;
    int32_t id;
    bool normalized = false;  // matched after NFC, in its own NFC form
  };
  std::vector<std::string> tokens;  // id -> spelling, bytes in GPT-2's alphabet; empty where there is no such id
  std::vector<Merge> merges;        // the index is the rank: lowest first
  std::vector<AddedToken> added;    // found in the text before everything else; they are in `tokens` as well
  bool nfc = true;                  // whether text is brought to Normalization Form C
};

// Spelling -> id, of tokens that the caller keeps. Exit::data if two ids have the same spelling.
class TokenIndex {
 public:
  explicit TokenIndex(const std::vector<std::string>& tokens);
  int32_t find(const std::vector<std::string>& tokens, std::string_view text) const;  // HashIndex::none if absent

 private:
  HashIndex index_;
};

// What the files ask for is either in a BpeVocabulary or refused by name. Errors: Exit::data, naming the file.
// A model folder's tokenizer.json, or, where there is none, vocab.json {token: id} and merges.txt (a line per merge);
// with the tokens that tokenizer_config.json adds.
BpeVocabulary read_vocabulary(const std::filesystem::path& folder);

void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary);

}  // namespace vlm2vec
