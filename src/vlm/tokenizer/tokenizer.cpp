// Encoding. Merging keeps the symbols of a word in a linked list and the pairs that have a merge in a heap: O(n log n),
// which matters because a "word" may be a page of Chinese.
#include "vlm/tokenizer/tokenizer.h"

#include <algorithm>
#include <functional>

#include "io/error.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {
namespace {

uint64_t pair_key(int32_t left, int32_t right) { return uint64_t(left) << 32 | uint32_t(right); }

struct Symbol {
  int32_t id, previous, next;
};

struct Candidate {
  int32_t rank, position, left, right;
  bool operator>(const Candidate& other) const {  // lowest rank first, then leftmost
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

struct Tokenizer::Workspace {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

Tokenizer Tokenizer::load(const std::filesystem::path& model_dir) { return Tokenizer(read_vocabulary(model_dir)); }

Tokenizer::Tokenizer(BpeVocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)), index_(vocabulary_.tokens), merges_(vocabulary_.merges.size()) {
  for (const auto& [text, id, normalized] : vocabulary_.added)
    if (!normalized) plain_.add({text, id});
    else normalized_.add({vocabulary_.nfc ? normalize_nfc(text) : text, id});
  for (int32_t rank = 0; const auto& [left, right, merged] : vocabulary_.merges)
    merges_.insert(pair_key(left, right), rank++, [&, l = left, r = right](int32_t other) {
      return vocabulary_.merges[size_t(other)].left == l && vocabulary_.merges[size_t(other)].right == r;
    });
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
  const int32_t id = index_.find(vocabulary_.tokens, token);
  return id == HashIndex::none ? std::nullopt : std::optional(id);
}

bool Tokenizer::is_added(int32_t id) const {
  return std::ranges::find(vocabulary_.added, id, &BpeVocabulary::AddedToken::id) != vocabulary_.added.end();
}

int32_t Tokenizer::find_merge(int32_t left, int32_t right) const {
  return merges_.find(pair_key(left, right), [&](int32_t rank) {
    const BpeVocabulary::Merge& merge = vocabulary_.merges[size_t(rank)];
    return merge.left == left && merge.right == right;
  });
}

void Tokenizer::AddedTokens::add(const BpeVocabulary::AddedToken& token) {
  const auto shorter = [&](const auto& other) { return other.text.size() < token.text.size(); };
  tokens.insert(std::ranges::find_if(tokens, shorter), token);
  begins[uint8_t(token.text[0])] = true;
}

const BpeVocabulary::AddedToken* Tokenizer::AddedTokens::at(std::string_view text) const {
  if (!begins[uint8_t(text[0])]) return nullptr;
  for (const auto& token : tokens)
    if (text.starts_with(token.text)) return &token;
  return nullptr;
}

template <class Piece>
void Tokenizer::AddedTokens::split(std::string_view text, std::vector<int32_t>& ids, Piece&& piece) const {
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const BpeVocabulary::AddedToken* token = at(text.substr(i));
    if (!token) {
      ++i;
      continue;
    }
    piece(text.substr(begin, i - begin));
    ids.push_back(token->id);
    begin = i += token->text.size();
  }
  piece(text.substr(begin));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  Workspace workspace;
  plain_.split(text, ids, [&](std::string_view piece) {
    const std::string normal = vocabulary_.nfc ? normalize_nfc(piece) : std::string(piece);
    normalized_.split(normal, ids, [&](std::string_view rest) {
      for (const std::string_view word : split_words(rest)) encode_word(word, workspace, ids);
    });
  });
  return ids;
}

std::vector<int32_t> Tokenizer::encode_with_ends(std::string_view text, int64_t max_len) const {
  const size_t ends = begin_.size() + end_.size(), limit = max_len > 0 ? size_t(max_len) : SIZE_MAX;
  if (limit < ends) fail(Exit::usage, "--max_len ", max_len, " has no room for the ", ends, " tokens around every text");
  std::vector<int32_t> ids = encode(text);
  ids.resize(std::min(ids.size(), limit - ends));
  ids.insert(ids.begin(), begin_.begin(), begin_.end());
  ids.insert(ids.end(), end_.begin(), end_.end());
  return ids;
}

void Tokenizer::encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const {
  auto& [symbols, heap] = workspace;
  const int size = int(word.size());
  symbols.resize(size_t(size));
  for (int i = 0; i < size; ++i) symbols[i] = {byte_ids_[uint8_t(word[i])], i - 1, i + 1};
  const auto propose = [&](int i) {
    const int j = symbols[i].next;
    if (j == size) return;
    const int32_t rank = find_merge(symbols[i].id, symbols[j].id);
    if (rank == HashIndex::none) return;
    heap.push_back({rank, i, symbols[i].id, symbols[j].id});
    std::ranges::push_heap(heap, std::greater{});
  };
  for (int i = 0; i < size; ++i) propose(i);
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::greater{});
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.position];
    if (left.id != best.left || left.next == size || symbols[left.next].id != best.right) continue;  // merged since
    constexpr int32_t gone = -1;
    symbols[left.next].id = gone;
    left = {vocabulary_.merges[size_t(best.rank)].merged, left.previous, symbols[left.next].next};
    if (left.next != size) symbols[left.next].previous = best.position;
    propose(best.position);
    if (left.previous >= 0) propose(left.previous);
  }
  for (int i = 0; i < size; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace vlm2vec
