#include "vlm/tokenizer/wordpiece.h"

#include "vlm/tokenizer/characters.h"

namespace vlm2vec {

WordPiece::WordPiece(const Vocabulary& vocabulary, Options options)
    : options_(std::move(options)), first_(vocabulary), later_(vocabulary) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view token = vocabulary.token(id);
    first_.insert(token, id);
    if (token.starts_with(options_.prefix)) later_.insert(token.substr(options_.prefix.size()), id);
  }
}

void WordPiece::encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const {
  for (const std::string_view word : words) {
    const size_t before = ids.size();
    if (spell(word, ids)) continue;
    ids.resize(before);
    ids.push_back(options_.unknown);
  }
}

bool WordPiece::spell(std::string_view word, std::vector<int32_t>& ids) const {
  size_t characters = 0;
  for (size_t i = 0; i < word.size(); i += character_at(word, i).length) ++characters;
  if (characters > options_.most_characters) return false;
  for (size_t begin = 0, length; begin < word.size(); begin += length) {
    int32_t longest = length = 0;
    const PrefixTrie& tokens = begin == 0 ? first_ : later_;
    tokens.find(word.substr(begin), [&](int32_t id, size_t end) { longest = id, length = end; });
    if (length == 0) return false;
    ids.push_back(longest);
  }
  return true;
}

}  // namespace vlm2vec
