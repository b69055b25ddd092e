// Counts are kept per distinct word; a merge only touches the words that hold the pair.
#include "vlm/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "io/error.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {
namespace {

using Pair = std::pair<int32_t, int32_t>;

struct Word {
  std::vector<int32_t> tokens;
  int64_t count;
};

// How often each pair occurs, the pairs by frequency, and where they are.
class PairIndex {
 public:
  // Every pair of the word occurs `sign` times its count more.
  void add(const Word& word, int index, int sign) {
    for (size_t i = 0; i + 1 < word.tokens.size(); ++i) {
      const Pair pair(word.tokens[i], word.tokens[i + 1]);
      Entry& entry = entries_[pair];
      ranking_.erase({-entry.count, pair});
      entry.count += sign * word.count;
      if (entry.count > 0) ranking_.insert({-entry.count, pair});
      if (sign > 0) entry.words.insert(index);
    }
  }
  bool empty() const { return ranking_.empty(); }
  Pair most_frequent() const { return ranking_.begin()->second; }
  std::set<int> words_with(Pair pair) const { return entries_.at(pair).words; }  // or that had it once

 private:
  struct Entry {
    int64_t count = 0;
    std::set<int> words;
  };
  std::map<Pair, Entry> entries_;
  std::set<std::pair<int64_t, Pair>> ranking_;  // {-count, pair}: the first is the most frequent with the smallest ids
};

// Replaces the pair wherever it occurs, from left to right.
std::vector<int32_t> merged(const std::vector<int32_t>& tokens, Pair pair, int32_t replacement) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool here = i + 1 < tokens.size() && Pair(tokens[i], tokens[i + 1]) == pair;
    out.push_back(here ? replacement : tokens[i]);
    i += here;
  }
  return out;
}

// The text with every special token replaced by a border between pieces.
std::vector<std::string_view> pieces_of(std::string_view text, const std::vector<std::string>& special_tokens) {
  std::vector<std::string_view> pieces = {text};
  for (const std::string& special : special_tokens) {
    std::vector<std::string_view> smaller;
    for (std::string_view piece : pieces) {
      for (size_t at; (at = piece.find(special)) != piece.npos; piece.remove_prefix(at + special.size()))
        smaller.push_back(piece.substr(0, at));
      smaller.push_back(piece);
    }
    pieces = std::move(smaller);
  }
  return pieces;
}

}  // namespace

BpeVocabulary train_bpe(std::span<const std::string> texts, int vocab_size,
                        const std::vector<std::string>& special_tokens) {
  CHECK(vocab_size >= int(special_tokens.size()) + 256, "train_bpe: a vocabulary of ", vocab_size,
        " has no room for 256 bytes and ", special_tokens.size(), " special tokens");
  BpeVocabulary vocabulary;
  std::unordered_map<std::string, int32_t> ids;
  const auto id_of = [&](const std::string& token) {  // a new token gets the next id
    const auto [entry, is_new] = ids.emplace(token, int32_t(vocabulary.tokens.size()));
    if (is_new) vocabulary.tokens.push_back(token);
    return entry->second;
  };
  for (const std::string& special : special_tokens) vocabulary.added.push_back({special, id_of(special)});
  std::vector<std::string> alphabet(byte_alphabet().begin(), byte_alphabet().end());
  std::ranges::sort(alphabet);  // UTF-8 sorts by code point
  for (const std::string& letter : alphabet) id_of(letter);

  std::map<std::string, int64_t> counts;
  for (const std::string& text : texts)
    for (const std::string_view piece : pieces_of(text, special_tokens)) {
      const std::string normal = normalize_nfc(piece);
      for (const std::string_view word : split_words(normal)) ++counts[std::string(word)];
    }
  std::vector<Word> words;
  PairIndex pairs;
  for (const auto& [text, count] : counts) {
    Word word{{}, count};
    for (const char byte : text) word.tokens.push_back(ids.at(byte_alphabet()[uint8_t(byte)]));
    pairs.add(word, int(words.size()), +1);
    words.push_back(std::move(word));
  }

  while (int(vocabulary.tokens.size()) < vocab_size && !pairs.empty()) {
    const Pair pair = pairs.most_frequent();
    const int32_t id = id_of(vocabulary.tokens[pair.first] + vocabulary.tokens[pair.second]);
    vocabulary.merges.push_back({pair.first, pair.second, id});
    for (const int index : pairs.words_with(pair)) {
      Word& word = words[index];
      pairs.add(word, index, -1);
      word.tokens = merged(word.tokens, pair, id);
      pairs.add(word, index, +1);
    }
  }
  return vocabulary;
}

}  // namespace vlm2vec
