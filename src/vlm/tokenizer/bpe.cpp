// Merging keeps the symbols of a word in a linked list and the pairs that have a merge in a heap: O(n log n), which
// matters because a "word" may be a page of Chinese.
#include "vlm/tokenizer/bpe.h"

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

struct Bpe::Workspace {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

Bpe::Bpe(const Vocabulary& vocabulary, std::vector<BpeVocabulary::Merge> merges, std::string_view end_of_word)
    : merges_(std::move(merges)), ranks_(merges_.size()) {
  for (int32_t rank = 0; const auto& [left, right, merged] : merges_)
    ranks_.insert(pair_key(left, right), rank++, [&, l = left, r = right](int32_t other) {
      return merges_[size_t(other)].left == l && merges_[size_t(other)].right == r;
    });
  const auto id_of_byte = [&](int byte, std::string_view suffix) {
    const std::optional<int32_t> id = vocabulary.id_of(byte_alphabet()[byte] + std::string(suffix));
    if (id) return *id;
    fail(Exit::data, "tokenizer: the vocabulary has no token for byte ", byte,
         suffix.empty() ? "" : " with end_of_word_suffix ", suffix, "; is it a byte-level one?");
  };
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = id_of_byte(byte, "");
    last_byte_ids_[byte] = id_of_byte(byte, end_of_word);
  }
}

int32_t Bpe::find_merge(int32_t left, int32_t right) const {
  return ranks_.find(pair_key(left, right), [&](int32_t rank) {
    const BpeVocabulary::Merge& merge = merges_[size_t(rank)];
    return merge.left == left && merge.right == right;
  });
}

void Bpe::encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const {
  Workspace workspace;
  for (const std::string_view word : words) encode_word(word, workspace, ids);
}

void Bpe::encode_word(std::string_view word, Workspace& workspace, std::vector<int32_t>& ids) const {
  auto& [symbols, heap] = workspace;
  const int size = int(word.size());
  symbols.resize(size_t(size));
  for (int i = 0; i < size; ++i) symbols[i] = {byte_ids_[uint8_t(word[i])], i - 1, i + 1};
  symbols.back().id = last_byte_ids_[uint8_t(word.back())];
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
    left = {merges_[size_t(best.rank)].merged, left.previous, symbols[left.next].next};
    if (left.next != size) symbols[left.next].previous = best.position;
    propose(best.position);
    if (left.previous >= 0) propose(left.previous);
  }
  for (int i = 0; i < size; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace vlm2vec
