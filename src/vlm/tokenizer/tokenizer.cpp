#include "vlm/tokenizer/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/tokenizer/bpe.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/web_text.h"

namespace vlm2vec {
namespace {

TokenizerParts with_qwen2_pipeline(BpeVocabulary learned) {
  const nlohmann::json pipeline = qwen2_pipeline();
  const auto vocabulary = std::make_shared<Vocabulary>(std::move(learned.tokens));
  auto bpe = std::make_shared<Bpe>(vocabulary, std::move(learned.merges), Bpe::Options());
  return {vocabulary,
          std::move(learned.added),
          Normalizer(pipeline["normalizer"]),
          Splitter(pipeline["pre_tokenizer"]),
          std::move(bpe),
          {}};
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& model_dir, TextCleaning cleaning) {
  return Tokenizer(read_tokenizer(model_dir), cleaning);
}

Tokenizer::Tokenizer(BpeVocabulary vocabulary) : Tokenizer(with_qwen2_pipeline(std::move(vocabulary))) {}

Tokenizer::Tokenizer(TokenizerParts parts, TextCleaning cleaning) : parts_(std::move(parts)), cleaning_(cleaning) {
  for (AddedToken token : parts_.added) {
    if (cleaning_ == TextCleaning::open_clip && token.text == "<|startoftext|>") token.text = "<start_of_text>";
    if (cleaning_ == TextCleaning::open_clip && token.text == "<|endoftext|>") token.text = "<end_of_text>";
    if (token.normalized) token.text = parts_.normalizer(token.text);
    if (token.text.empty())
      fail(Exit::data, "tokenizer: the normaliser leaves nothing of the added token ", this->token(token.id));
    (token.normalized ? normalized_ : plain_).add(token);
  }
}

const std::string& Tokenizer::token(int32_t id) const {
  CHECK(id >= 0 && id < vocab_size(), "Tokenizer::token: id ", id, ", but the vocabulary has ", vocab_size());
  return parts_.vocabulary->token(id);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const { return parts_.vocabulary->id_of(token); }

bool Tokenizer::is_added(int32_t id) const {
  return std::ranges::find(parts_.added, id, &AddedToken::id) != parts_.added.end();
}

void Tokenizer::AddedTokens::add(const AddedToken& token) {
  const auto shorter = [&](const auto& other) { return other.text.size() < token.text.size(); };
  tokens.insert(std::ranges::find_if(tokens, shorter), token);
  begins[uint8_t(token.text[0])] = true;
}

const AddedToken* Tokenizer::AddedTokens::at(std::string_view text) const {
  if (!begins[uint8_t(text[0])]) return nullptr;
  for (const auto& token : tokens)
    if (text.starts_with(token.text)) return &token;
  return nullptr;
}

// White space that a token takes with it is skipped, but a token that begins there is found as well.
template <class Piece>
void Tokenizer::AddedTokens::split(std::string_view text, std::vector<int32_t>& ids, Piece&& piece) const {
  size_t begin = 0;  // what is before it belongs to a token or a piece
  for (size_t i = 0; i < text.size();) {
    const AddedToken* token = at(text.substr(i));
    if (!token) {
      ++i;
      continue;
    }
    const size_t end = token->lstrip ? end_without_blanks(text.substr(0, i)) : i;
    if (begin < end) piece(text.substr(begin, end - begin), begin);
    ids.push_back(token->id);
    begin = i += token->text.size();
    if (token->rstrip) begin += blanks_at_start(text.substr(begin));
  }
  if (begin < text.size()) piece(text.substr(begin), begin);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  std::string cleaned;
  if (cleaning_ != TextCleaning::none) text = cleaned = clean_web_text(text);
  plain_.split(text, ids, [&](std::string_view piece, size_t begin) {
    const std::string normal = parts_.normalizer(piece);
    normalized_.split(normal, ids, [&](std::string_view rest, size_t place) {
      const std::string text_of_words = parts_.splitter.rewritten(rest, begin == 0 && place == 0);
      parts_.model->encode(parts_.splitter.words(text_of_words), ids);
    });
  });
  return ids;
}

std::vector<int32_t> Tokenizer::encode_with_ends(std::string_view text, int64_t max_len) const {
  const auto& [begin, end, end_once] = parts_.ends;
  std::vector<int32_t> ids = encode(text);
  const bool has_end = end_once && !ids.empty() && ids.back() == end.back();
  ids.insert(ids.begin(), begin.begin(), begin.end());
  if (!has_end) ids.insert(ids.end(), end.begin(), end.end());
  cut(ids, max_len);
  return ids;
}

bool Tokenizer::cut(std::vector<int32_t>& ids, int64_t max_len) const {
  const auto& [begin, end, end_once] = parts_.ends;
  const int64_t ends = int64_t(begin.size() + end.size()), more = int64_t(ids.size()) - max_len;
  if (max_len > 0 && max_len < ends)
    fail(Exit::usage, "--max_len ", max_len, " has no room for the ", ends, " tokens around every text");
  if (max_len <= 0 || more <= 0) return false;
  const auto last = ids.end() - int64_t(end.size());
  ids.erase(last - more, last);
  return true;
}

}  // namespace vlm2vec
