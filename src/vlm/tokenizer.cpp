// Encoding. Merging keeps the symbols of a word in a linked list and the pairs that have a merge in a heap: O(n log n),
// which matters because a "word" may be a page of Chinese.
#include "vlm/tokenizer.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "tensor/error.h"
#include "vlm/pretokenizer.h"

namespace vlm2vec {
namespace {

uint64_t pair_key(int32_t left, int32_t right) { return uint64_t(left) << 32 | uint32_t(right); }

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& model_dir) {
  return Tokenizer(read_tokenizer_json(model_dir / "tokenizer.json"));
}

Tokenizer::Tokenizer(BpeVocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  std::ranges::stable_sort(vocabulary_.added, std::greater{}, [](const auto& token) { return token.text.size(); });
  merges_.reserve(vocabulary_.merges.size());
  for (int32_t rank = 0; const auto& [left, right, merged] : vocabulary_.merges)
    merges_[pair_key(left, right)] = {rank++, merged};
  for (int byte = 0; byte < 256; ++byte) {
    const std::optional<int32_t> id = id_of(byte_alphabet()[byte]);
    if (!id) fail(Exit::data, "tokenizer: the vocabulary has no token for byte ", byte, "; is it a byte-level one?");
    byte_ids_[byte] = *id;
  }
}

const std::string& Tokenizer::token(int32_t id) const {
  CHECK(id >= 0 && id < vocab_size(), "Tokenizer::token: id ", id, ", but the vocabulary has ", vocab_size());
  return vocabulary_.tokens[id];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = std::ranges::find(vocabulary_.tokens, token);
  if (token.empty() || found == vocabulary_.tokens.end()) return std::nullopt;
  return int32_t(found - vocabulary_.tokens.begin());
}

const Tokenizer::Ranked* Tokenizer::find_merge(int32_t left, int32_t right) const {
  const auto found = merges_.find(pair_key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

const BpeVocabulary::AddedToken* Tokenizer::added_token_at(std::string_view text) const {
  for (const auto& token : vocabulary_.added)
    if (text.starts_with(token.text)) return &token;
  return nullptr;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  const auto append_piece = [&](std::string_view piece) {  // without added tokens
    const std::string normal = vocabulary_.nfc ? normalize_nfc(piece) : std::string(piece);
    for (const std::string_view word : split_words(normal)) {
      const std::vector<int32_t> tokens = encode_word(word);
      ids.insert(ids.end(), tokens.begin(), tokens.end());
    }
  };
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const BpeVocabulary::AddedToken* token = added_token_at(text.substr(i));
    if (!token) {
      ++i;
      continue;
    }
    append_piece(text.substr(begin, i - begin));
    ids.push_back(token->id);
    begin = i += token->text.size();
  }
  append_piece(text.substr(begin));
  return ids;
}

std::vector<int32_t> Tokenizer::encode_word(std::string_view word) const {
  struct Symbol {
    int32_t id, previous, next;
  };
  struct Candidate {
    int32_t rank, position, left, right, merged;
    bool operator>(const Candidate& other) const {  // lowest rank first, then leftmost
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const int size = int(word.size());
  std::vector<Symbol> symbols(size);
  for (int i = 0; i < size; ++i) symbols[i] = {byte_ids_[uint8_t(word[i])], i - 1, i + 1};
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto propose = [&](int i) {
    const int j = symbols[i].next;
    if (j == size) return;
    if (const Ranked* merge = find_merge(symbols[i].id, symbols[j].id))
      heap.push({merge->rank, i, symbols[i].id, symbols[j].id, merge->merged});
  };
  for (int i = 0; i < size; ++i) propose(i);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == size || symbols[left.next].id != best.right) continue;  // merged since
    constexpr int32_t gone = -1;
    symbols[left.next].id = gone;
    left = {best.merged, left.previous, symbols[left.next].next};
    if (left.next != size) symbols[left.next].previous = best.position;
    propose(best.position);
    if (left.previous >= 0) propose(left.previous);
  }
  std::vector<int32_t> ids;
  for (int i = 0; i < size; i = symbols[i].next) ids.push_back(symbols[i].id);
  return ids;
}

}  // namespace vlm2vec
