#include "vlm/tokenizer/vocabulary.h"

#include "vlm/tokenizer/refusal.h"

namespace vlm2vec {

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)), index_(tokens_.size()) {
  for (int32_t id = 0; id < size(); ++id) {
    if (token(id).empty()) continue;
    if (const auto other = id_of(token(id)))
      fail(Exit::data, "token ", shown(token(id)), " has two ids, ", *other, " and ", id);
    index_.insert(std::hash<std::string_view>()(token(id)), id, [](int32_t) { return false; });
  }
}

std::optional<int32_t> Vocabulary::id_of(std::string_view text) const {
  const int32_t id = index_.find(std::hash<std::string_view>()(text), [&](int32_t i) { return token(i) == text; });
  return id == HashIndex::none ? std::nullopt : std::optional(id);
}

}  // namespace vlm2vec
