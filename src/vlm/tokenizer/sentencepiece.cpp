#include "vlm/tokenizer/sentencepiece.h"

#include <bit>
#include <cmath>
#include <limits>

#include "io/error.h"
#include "io/files.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/normalizer.h"
#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {
namespace {

// Reads the fields of a protocol buffer's message one after another.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    number_ = tag >> 3;
    switch (tag & 7) {
      case 0: value_ = varint(); break;
      case 1: bytes_ = take(8); break;
      case 2: bytes_ = take(varint()); break;
      case 5: bytes_ = take(4); break;
      default: damaged();
    }
    kind_ = int(tag & 7);
    return true;
  }
  uint64_t number() const { return number_; }
  uint64_t whole() const { return kind_ == 0 ? value_ : damaged(); }
  std::string_view bytes() const { return kind_ == 2 ? bytes_ : (damaged(), bytes_); }
  float real() const {
    if (kind_ != 5) damaged();
    uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | uint8_t(bytes_[size_t(i)]);
    return std::bit_cast<float>(bits);
  }

 private:
  [[noreturn]] static uint64_t damaged() {
    fail(Exit::data, "is not a SentencePiece model, or is damaged; fetch it again");
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = uint8_t(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) damaged();
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

  std::string_view rest_, bytes_;
  uint64_t number_ = 0, value_ = 0;
  int kind_ = 0;
};

SentencePieceFile::Piece read_piece(Message message) {
  SentencePieceFile::Piece piece;
  while (message.next())
    if (message.number() == 1) piece.text = message.bytes();
    else if (message.number() == 2) piece.score = message.real();
    else if (message.number() == 3) piece.type = int(message.whole());
  return piece;
}

std::vector<double> scores_of(const SentencePieceFile& file) {
  std::vector<double> scores;
  for (const auto& [text, score, type] : file.pieces) {
    if (type == SentencePieceFile::user_defined) refuse("the piece ", shown(text), " is user-defined");
    scores.push_back(type == SentencePieceFile::normal ? double(score) : std::numeric_limits<double>::quiet_NaN());
  }
  return scores;
}

Unigram::Options options_of(const SentencePieceFile& file) {
  Unigram::Options options;
  options.byte_fallback = file.byte_fallback;
  options.in_floats = true;
  for (int32_t id = 0; const auto& piece : file.pieces) {
    if (piece.type == SentencePieceFile::unknown) options.unknown = id;
    ++id;
  }
  if (!options.unknown) fail(Exit::data, "has no piece for unknown characters; fetch the file again");
  return options;
}

}  // namespace

SentencePieceFile SentencePieceFile::read(const std::filesystem::path& path) {
  const auto mapped = MappedFile::open(path);
  SentencePieceFile file;
  for (Message model(as_text(mapped->bytes())); model.next();) {
    if (model.number() == 1) file.pieces.push_back(read_piece(Message(model.bytes())));
    if (model.number() != 2 && model.number() != 3) continue;
    const bool is_trainer = model.number() == 2;
    for (Message spec(model.bytes()); spec.next();) {
      const uint64_t number = spec.number();
      if (is_trainer && number == 3) file.model_type = int(spec.whole());
      else if (is_trainer && number == 24 && spec.whole() != 0) refuse("the model has treat_whitespace_as_suffix");
      else if (is_trainer && number == 35) file.byte_fallback = spec.whole() != 0;
      else if (!is_trainer && number == 2) file.charsmap = spec.bytes();
      else if (!is_trainer && number == 3) file.add_dummy_prefix = spec.whole() != 0;
      else if (!is_trainer && number == 4) file.remove_extra_whitespaces = spec.whole() != 0;
      else if (!is_trainer && number == 5) file.escape_whitespaces = spec.whole() != 0;
    }
  }
  if (file.pieces.empty()) fail(Exit::data, "has no pieces; is it a SentencePiece model?");
  return file;
}

SentencePieceUnigram::SentencePieceUnigram(const SentencePieceFile& file, std::shared_ptr<const Vocabulary> vocabulary,
                                           std::string lead)
    : charsmap_(file.charsmap),
      add_dummy_prefix_(file.add_dummy_prefix),
      remove_extra_whitespaces_(file.remove_extra_whitespaces),
      unigram_(std::move(vocabulary), scores_of(file), options_of(file)),
      lead_(std::move(lead)) {
  if (file.model_type != 1) refuse("the model_type is ", file.model_type);
  if (!file.escape_whitespaces) refuse("the normalizer_spec does not have escape_whitespaces");
  lead_ids_ = ids_of(lead_).size();
}

void SentencePieceUnigram::encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const {
  for (const std::string_view word : words) {
    const std::vector<int32_t> all = ids_of(lead_ + std::string(word));
    ids.insert(ids.end(), all.begin() + int64_t(all.size() < lead_ids_ ? 0 : lead_ids_), all.end());
  }
}

std::vector<int32_t> SentencePieceUnigram::ids_of(const std::string& text) const {
  std::vector<int32_t> ids;
  const std::string normal = normalized(text);
  if (const std::string_view word = normal; !word.empty()) unigram_.encode({&word, 1}, ids);
  return ids;
}

// Blanks before, behind and beside blanks are left out, as the file says.
std::string SentencePieceUnigram::normalized(std::string_view text) const {
  std::string normal;
  bool after_blank = remove_extra_whitespaces_;
  for (size_t i = 0; i < text.size();) {
    const auto rule = charsmap_.longest(text.substr(i));
    const size_t length = rule ? rule->length : character_at(text, i).length;
    std::string_view part = rule ? rule->replacement : text.substr(i, length);
    i += length;
    while (after_blank && part.starts_with(' ')) part.remove_prefix(1);
    normal += part;
    if (remove_extra_whitespaces_ && !part.empty()) after_blank = part.ends_with(' ');
  }
  const auto ends_with = [&](std::string_view end) { return remove_extra_whitespaces_ && normal.ends_with(end); };
  normal = replaced(normal, " ", blank_mark);
  while (ends_with(blank_mark)) normal.resize(normal.size() - std::string_view(blank_mark).size());
  return add_dummy_prefix_ && !normal.empty() ? blank_mark + normal : normal;
}

}  // namespace vlm2vec
