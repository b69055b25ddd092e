// Merging keeps the symbols of a word in a linked list and the pairs that have a merge in a heap: O(n log n), which
// matters because a "word" may be a page of Chinese.
#include "vlm/tokenizer/bpe.h"

#include <algorithm>
#include <functional>

#include "io/error.h"
#include "io/text.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/pretokenizer.h"

namespace vlm2vec {
namespace {

uint64_t pair_key(int32_t left, int32_t right) { return uint64_t(left) << 32 | uint32_t(right); }

}  // namespace

struct Bpe::Workspace {
  struct Symbol {
    int32_t id, previous, next;
  };
  struct Candidate {
    int32_t rank, position, left, right;
    bool operator>(const Candidate& other) const {  // lowest rank first, then leftmost
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  void add(int32_t id) { symbols.push_back({id, int32_t(symbols.size()) - 1, int32_t(symbols.size()) + 1}); }
};

Bpe::Bpe(std::shared_ptr<const Vocabulary> vocabulary, std::vector<BpeVocabulary::Merge> merges, const Options& options)
    : vocabulary_(std::move(vocabulary)), options_(options), merges_(std::move(merges)), ranks_(merges_.size()) {
  for (int32_t rank = 0; const auto& [left, right, merged] : merges_)
    ranks_.insert(pair_key(left, right), rank++, [&, l = left, r = right](int32_t other) {
      return merges_[size_t(other)].left == l && merges_[size_t(other)].right == r;
    });
  const std::string& end_of_word = options_.end_of_word;
  const auto id_of_byte = [&](int byte, const std::string& suffix) {
    const std::string spelling = options_.byte_level ? byte_alphabet()[byte] + suffix : formatted("<0x%02X>", byte);
    const std::optional<int32_t> id = vocabulary_->id_of(spelling);
    if (id || !options_.byte_level) return id.value_or(HashIndex::none);
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
  for (const std::string_view word : words) {
    if (const auto whole = options_.ignore_merges ? id_of(word) : std::nullopt) {
      ids.push_back(*whole);
      continue;
    }
    workspace.symbols.clear();
    if (options_.byte_level) spell_bytes(word, workspace);
    else spell_characters(word, workspace);
    merge(workspace);
    for (size_t i = 0; i < workspace.symbols.size(); i = size_t(workspace.symbols[i].next))
      ids.push_back(workspace.symbols[i].id);
  }
}

std::optional<int32_t> Bpe::id_of(std::string_view word) const {
  if (!options_.byte_level) return vocabulary_->id_of(word);
  std::string spelling;
  for (const char byte : word) spelling += byte_alphabet()[uint8_t(byte)];
  return vocabulary_->id_of(spelling);
}

void Bpe::spell_bytes(std::string_view word, Workspace& workspace) const {
  for (const char byte : word) workspace.add(byte_ids_[uint8_t(byte)]);
  workspace.symbols.back().id = last_byte_ids_[uint8_t(word.back())];
}

void Bpe::spell_characters(std::string_view word, Workspace& workspace) const {
  const auto has_token = [&](char byte) { return byte_ids_[uint8_t(byte)] != HashIndex::none; };
  bool unknown = false;  // an unknown token is to come; as in the reference, tokens of bytes pass it
  for (size_t i = 0; i < word.size();) {
    const std::string_view character = word.substr(i, character_at(word, i).length);
    i += character.size();
    if (const std::optional<int32_t> id = vocabulary_->id_of(character)) {
      if (unknown) workspace.add(*options_.unknown);
      unknown = false;
      workspace.add(*id);
    } else if (options_.byte_fallback && std::ranges::all_of(character, has_token)) {
      for (const char byte : character) workspace.add(byte_ids_[uint8_t(byte)]);
    } else if (options_.unknown) {
      if (unknown && !options_.fuse_unk) workspace.add(*options_.unknown);
      unknown = true;
    }
  }
  if (unknown) workspace.add(*options_.unknown);
}

void Bpe::merge(Workspace& workspace) const {
  auto& [symbols, heap] = workspace;
  const int size = int(symbols.size());
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
    const auto best = heap.back();
    heap.pop_back();
    auto& left = symbols[best.position];
    if (left.id != best.left || left.next == size || symbols[left.next].id != best.right) continue;  // merged since
    constexpr int32_t gone = -1;
    symbols[left.next].id = gone;
    left = {merges_[size_t(best.rank)].merged, left.previous, symbols[left.next].next};
    if (left.next != size) symbols[left.next].previous = best.position;
    propose(best.position);
    if (left.previous >= 0) propose(left.previous);
  }
}

}  // namespace vlm2vec
