// Viterbi's algorithm over the bytes of a word. Of equal sums the first one found stays: that with the longest last
// token.
#include "vlm/tokenizer/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/error.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {

Unigram::Unigram(std::shared_ptr<const Vocabulary> vocabulary, std::vector<double> scores, const Options& options)
    : vocabulary_(std::move(vocabulary)),
      scores_(std::move(scores)),
      options_(options),
      trie_(*vocabulary_) {
  double least = std::numeric_limits<double>::infinity();
  for (int32_t id = 0; id < int32_t(scores_.size()); ++id) {
    if (std::isnan(scores_[size_t(id)])) continue;
    trie_.insert(vocabulary_->token(id), id);
    least = std::min(least, scores_[size_t(id)]);
  }
  if (!std::isfinite(least)) fail(Exit::data, "the model has no token with a finite score");
  unknown_score_ = options_.in_floats ? float(least) - 10.0f : least - 10.0;
  for (int byte = 0; byte < 256; ++byte)
    byte_ids_[size_t(byte)] = vocabulary_->id_of(formatted("<0x%02X>", byte)).value_or(HashIndex::none);
}

void Unigram::encode(std::span<const std::string_view> words, std::vector<int32_t>& ids) const {
  std::vector<Step> steps;
  std::vector<size_t> ends;  // of the tokens, the last first
  for (const std::string_view word : words) {
    find_best(word, steps);
    ends.clear();
    for (size_t end = word.size(); end > 0; end = size_t(steps[end].begin)) ends.push_back(end);
    const auto is_unknown = [&](size_t end) { return steps[end].id == options_.unknown; };
    while (!ends.empty()) {
      const size_t begin = size_t(steps[ends.back()].begin), first = ends.back();
      size_t end = first;
      do end = ends.back(), ends.pop_back();
      while (is_unknown(first) && !ends.empty() && is_unknown(ends.back()));
      if (is_unknown(first)) append_unknown(word.substr(begin, end - begin), ids);
      else ids.push_back(steps[first].id);
    }
  }
}

void Unigram::find_best(std::string_view word, std::vector<Step>& steps) const {
  steps.assign(word.size() + 1, Step());
  for (size_t i = 0; i < word.size();) {
    const size_t length_here = character_at(word, i).length;
    const double score_here = steps[i].score;
    const auto offer = [&](int32_t id, size_t length, double score) {
      Step& step = steps[i + length];
      const double exact = score + score_here, sum = options_.in_floats ? float(exact) : exact;
      if (step.begin < 0 || sum > step.score) step = {sum, int32_t(i), id};
    };
    bool has_token = false;  // for the one character
    trie_.find(word.substr(i), [&](int32_t id, size_t length) {
      offer(id, length, scores_[size_t(id)]);
      has_token |= length == length_here;
    });
    if (!has_token) {
      if (!options_.unknown) fail(Exit::data, "the tokenizer has no token for ", shown(word.substr(i, length_here)));
      offer(*options_.unknown, length_here, unknown_score_);
    }
    i += length_here;
  }
}

void Unigram::append_unknown(std::string_view characters, std::vector<int32_t>& ids) const {
  const auto has_token = [&](char byte) { return byte_ids_[uint8_t(byte)] != HashIndex::none; };
  const bool spelled_out = characters == vocabulary_->token(*options_.unknown);
  if (!options_.byte_fallback || spelled_out || !std::ranges::all_of(characters, has_token))
    ids.push_back(*options_.unknown);
  else
    for (const char byte : characters) ids.push_back(byte_ids_[uint8_t(byte)]);
}

}  // namespace vlm2vec
