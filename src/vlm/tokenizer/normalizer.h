// Normalises text before it is split into words. Text must be UTF-8; anything else throws Exit::data.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vlm2vec {

// Normalization Form C of Unicode 9.0, as in Hugging Face's tokenizers: later characters stay as they are, and nothing
// is reordered or composed across them.
std::string normalize_nfc(std::string_view text);

std::string normalize_nfd(std::string_view text);  // Form D, likewise

// Unicode's lower case, character by character: U+0130 becomes two, and no rule looks at the neighbours (final sigma).
std::string lower_case(std::string_view text);

// Replaces `from`, which is not empty, wherever it stands.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

class Normalizer {
 public:
  // tokenizer.json's normalizer: null, NFC, Lowercase, Replace (of a pattern or a text by a text), Prepend (to a text
  // that is not empty), Strip, Precompiled, BertNormalizer, or a Sequence of these; anything else is refused by name.
  explicit Normalizer(const nlohmann::json& part);
  std::string operator()(std::string_view text) const;

 private:
  void add(const nlohmann::json& part);
  std::vector<std::function<std::string(std::string_view)>> steps_;
};

}  // namespace vlm2vec
