// A vocabulary of byte-pair encoding as the trainer learns it, and the tokenizer.json that holds it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

struct BpeVocabulary {
  struct Merge {
    int32_t left, right, merged;  // ids
  };
  std::vector<std::string> tokens;  // id -> spelling, bytes in GPT-2's alphabet; empty where there is no such id
  std::vector<Merge> merges;        // the index is the rank: lowest first
  std::vector<AddedToken> added;    // they are in `tokens` as well
};

// Returns Qwen2's normalizer, pre_tokenizer and post_processor, as its tokenizer.json has them.
nlohmann::ordered_json qwen2_pipeline();

// Writes a tokenizer.json with Qwen2's pipeline.
void write_tokenizer_json(const std::filesystem::path& file, const BpeVocabulary& vocabulary);

}  // namespace vlm2vec
