// Vocabulary, merges and added tokens as a tokenizer's files list them, before their ids are checked. The two large
// lists never become JSON values: they are collected while the text is parsed.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "vlm/tokenizer/bpe_vocabulary.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

// The tokenizer_class of tokenizer_config.json, without the "Fast" of a class that reads tokenizer.json; or "".
std::string tokenizer_class(const nlohmann::json& config);

struct TokenLists {
  struct Entry {
    std::string token;
    uint64_t id;
    bool normalized = false, lstrip = false, rstrip = false;
  };
  struct Pair {
    std::string left, right;
  };
  std::vector<Entry> vocab, added;
  std::vector<double> scores;  // of Unigram's vocabulary, by id
  std::vector<Pair> merges;

  // Parses tokenizer.json, or vocab.json; returns it without the content of the lists.
  nlohmann::json take_tokenizer_json(const std::filesystem::path& file);
  nlohmann::json take_vocab_json(const std::filesystem::path& file);
  void take_vocab_txt(const std::filesystem::path& file);  // a line per token
  // A merge is "a b" in older files and ["a", "b"] in newer ones; merges.txt has one per line.
  void take_merges_txt(const std::filesystem::path& file);
  // Takes one of tokenizer.json's added_tokens.
  void take_added(const nlohmann::json& token);
  // Adds tokenizer_config.json as transformers does: its flags of a token count, and new tokens come last. Settings
  // that versions of transformers understand differently are refused.
  void take_configured(const nlohmann::json& config);

  // Return the checked lists: every token has its place, every merge its ids.
  Vocabulary vocabulary();  // moves the spellings out of `vocab`
  std::vector<AddedToken> added_tokens() const;
  std::vector<BpeVocabulary::Merge> ids_of_merges(const Vocabulary& vocabulary) const;
};

}  // namespace vlm2vec
