// What a byte-level BPE tokenizer consists of, and its file format: Hugging Face's tokenizer.json as Qwen2 has it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vlm2vec {

struct BpeVocabulary {
  struct Merge {
    int32_t left, right, merged;  // ids
  };
  struct AddedToken {
    std::string text;
    int32_t id;
  };
  std::vector<std::string> tokens;  // id -> spelling, bytes in GPT-2's alphabet; empty where there is no such id
  std::vector<Merge> merges;        // the index is the rank: lowest first
  std::vector<AddedToken> added;    // found in the text before everything else; they are in `tokens` as well
  bool nfc = true;                  // whether text is brought to Normalization Form C
};

// What the file asks for is either in a BpeVocabulary or refused by name. Errors: Exit::data, naming the file.
BpeVocabulary read_tokenizer_json(const std::filesystem::path& file);

void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary);

}  // namespace vlm2vec
