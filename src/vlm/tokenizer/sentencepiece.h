// SentencePiece (Kudo and Richardson 2018): its model file, and its own way from a text to ids, which differs from that
// of tokenizer.json on rare characters.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "vlm/tokenizer/charsmap.h"
#include "vlm/tokenizer/unigram.h"

namespace vlm2vec {

inline constexpr const char* blank_mark = "▁";  // stands for a blank in a token

// A spiece.model or tokenizer.model: a protocol buffer.
struct SentencePieceFile {
  enum Type { normal = 1, unknown, control, user_defined, unused, byte };
  struct Piece {
    std::string text;
    float score = 0;
    int type = normal;
  };
  std::vector<Piece> pieces;  // by id
  int model_type = 1;         // 1 Unigram, 2 BPE
  bool byte_fallback = false;
  std::string charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;

  // Throws Exit::data for a damaged file.
  static SentencePieceFile read(const std::filesystem::path& file);
};

// Normalises as SentencePiece does, then spells the whole text, blanks included.
class SentencePieceUnigram : public TokenModel {
 public:
  // `lead` goes before every text, and as many ids as it has alone are dropped, so that a blank after it stays.
  SentencePieceUnigram(const SentencePieceFile& file, std::shared_ptr<const Vocabulary> vocabulary, std::string lead);
  void encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const override;

 private:
  std::string normalized(std::string_view text) const;
  std::vector<int32_t> ids_of(const std::string& text) const;

  Charsmap charsmap_;
  bool add_dummy_prefix_, remove_extra_whitespaces_;
  Unigram unigram_;
  std::string lead_;
  size_t lead_ids_ = 0;
};

}  // namespace vlm2vec
