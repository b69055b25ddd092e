// The part of a tokenizer that turns words into ids: byte-pair encoding (bpe.h); later Unigram and WordPiece.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace vlm2vec {

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the ids of each word, in order. Words are not empty; threads may call this at the same time.
  virtual void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const = 0;
};

}  // namespace vlm2vec
