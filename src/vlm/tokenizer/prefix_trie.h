// Finds the tokens that a text begins with: a trie (Fredkin 1960) whose edges lie in one hash table.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "vlm/tokenizer/hash_index.h"
#include "vlm/tokenizer/vocabulary.h"

namespace vlm2vec {

class PrefixTrie {
 public:
  explicit PrefixTrie(const Vocabulary& vocabulary) : edges_(bytes_of(vocabulary)) {}  // has room for its tokens

  void insert(std::string_view token, int32_t id) {
    int32_t node = root;
    for (const char byte : token) {
      int32_t next = child(node, byte);
      if (next == HashIndex::none) {
        next = int32_t(nodes_.size());
        nodes_.push_back({node, byte, HashIndex::none});
        edges_.insert(key(node, byte), next, [](int32_t) { return false; });
      }
      node = next;
    }
    if (node != root) nodes_[size_t(node)].id = id;
  }

  // Calls found(id, length) for each token, the shortest first.
  template <class Found>
  void find(std::string_view text, Found&& found) const {
    int32_t node = root;
    for (size_t i = 0; i < text.size() && (node = child(node, text[i])) != HashIndex::none; ++i)
      if (nodes_[size_t(node)].id != HashIndex::none) found(nodes_[size_t(node)].id, i + 1);
  }

 private:
  static size_t bytes_of(const Vocabulary& vocabulary) {
    size_t bytes = 0;
    for (int32_t id = 0; id < vocabulary.size(); ++id) bytes += vocabulary.token(id).size();
    return bytes;
  }
  static constexpr int32_t root = -1;
  struct Node {
    int32_t parent;
    char byte;
    int32_t id;  // or none
  };
  static uint64_t key(int32_t node, char byte) { return uint64_t(uint32_t(node)) << 8 | uint8_t(byte); }
  int32_t child(int32_t node, char byte) const {
    return edges_.find(key(node, byte), [&](int32_t i) {
      return nodes_[size_t(i)].parent == node && nodes_[size_t(i)].byte == byte;
    });
  }
  std::vector<Node> nodes_;
  HashIndex edges_;
};

}  // namespace vlm2vec
