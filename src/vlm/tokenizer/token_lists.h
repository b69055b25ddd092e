// Vocabulary, merges and added tokens as the files of a tokenizer list them, until each has its id checked. The two
// large lists never become JSON values: they are collected while the text is parsed.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

struct TokenLists {
  struct Entry {
    std::string token;
    uint64_t id;
    bool normalized = false;
  };
  struct Pair {
    std::string left, right;
  };
  std::vector<Entry> vocab, added;
  std::vector<Pair> merges;

  // Parses tokenizer.json, or vocab.json, without what goes to the lists.
  nlohmann::json take_tokenizer_json(const std::filesystem::path& file);
  nlohmann::json take_vocab_json(const std::filesystem::path& file);
  // A merge is "a b" in older files and ["a", "b"] in newer ones; merges.txt has one a line.
  void take_merges_txt(const std::filesystem::path& file);
  // One of tokenizer.json's added_tokens.
  void take_added(const nlohmann::json& token);
  // tokenizer_config.json, as transformers adds it to what the other files have: its flags of a token count, tokens
  // that are not there come behind the others. What its versions understand differently is refused.
  void take_configured(const nlohmann::json& config);

  // Every token has its place, and the merges their ids.
  Vocabulary vocabulary();  // takes the spellings of `vocab` with it
  std::vector<AddedToken> added_tokens() const;
  std::vector<BpeVocabulary::Merge> ids_of_merges(const Vocabulary& vocabulary) const;
};

}  // namespace vlm2vec
