#include "vlm/families/qwen_prompts.h"

#include <utf8proc.h>

#include <algorithm>
#include <initializer_list>
#include <numeric>
#include <vector>

namespace vlm2vec {
namespace {

constexpr const char* kAssistant = "\n<|im_start|>assistant\n";
constexpr const char* kHelpful = "You are a helpful assistant.";

int32_t code_at(std::string_view text, size_t at, size_t& length) {
  utf8proc_int32_t code = -1;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                  utf8proc_ssize_t(text.size() - at), &code);
  length = n > 0 ? size_t(n) : 1;  // what is not UTF-8 is the tokenizer's to refuse
  return code;
}

bool is_space(int32_t code) {  // as Python's str.isspace
  const auto category = utf8proc_category(code);
  return (code >= 9 && code <= 13) || (code >= 28 && code <= 31) || code == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
         category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

// Strips the instruction and ends it with a full stop unless it ends with punctuation; without one, the default.
std::string as_sentence(const std::string& instruction) {
  size_t begin = instruction.size(), end = 0;
  int32_t last = 0;
  for (size_t at = 0, length = 0; at < instruction.size(); at += length) {
    const int32_t code = code_at(instruction, at, length);
    if (is_space(code)) continue;
    begin = std::min(begin, at), end = at + length, last = code;
  }
  if (end == 0) return "Represent the user's input.";
  const auto category = utf8proc_category(last);
  const bool ends = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
  return instruction.substr(begin, end - begin) + (ends ? "" : ".");
}

// Takes out image tokens, each with the newline behind it.
std::string words_of_prompt(const std::string& text, const std::string& image_token) {
  std::string words = place_pictures(text, 0, image_token).text;
  for (size_t at; (at = words.find(image_token)) != words.npos;)
    words.erase(at, image_token.size() + (words.compare(at + image_token.size(), 1, "\n") == 0));
  return words;
}

std::string pictures_of(const PromptParts& parts, const std::string& image_token) {
  std::string all;
  for (size_t i = 0; i < parts.pictures; ++i) all += "<|vision_start|>" + image_token + "<|vision_end|>";
  return all;
}

Prompt chat(const std::string& system, const std::string& user, const std::string& rest, size_t pictures) {
  Prompt prompt{"<|im_start|>system\n" + system + "<|im_end|>\n<|im_start|>user\n" + user + "<|im_end|>" + rest,
                std::vector<size_t>(pictures)};
  std::iota(prompt.pictures.begin(), prompt.pictures.end(), size_t(0));
  return prompt;
}

Prompt qwen3_embedding(const PromptParts& parts, const std::string& image_token, const char* rest) {
  const std::string user = pictures_of(parts, image_token) + words_of_prompt(parts.text, image_token);
  return chat(as_sentence(words_of_prompt(parts.instruction, image_token)), user.empty() ? "NULL" : user, rest,
              parts.pictures);
}
Prompt qwen3_embedding_by_code(const PromptParts& parts, const std::string& image_token) {
  return qwen3_embedding(parts, image_token, kAssistant);
}
Prompt qwen3_embedding_by_report(const PromptParts& parts, const std::string& image_token) {
  return qwen3_embedding(parts, image_token, "<|endoftext|>");
}

Prompt gme(const PromptParts& parts, const std::string& image_token) {
  const std::string instruction = words_of_prompt(parts.instruction, image_token);
  return chat(instruction.empty() ? kHelpful : instruction,
              pictures_of(parts, image_token) + words_of_prompt(parts.text, image_token),
              std::string(kAssistant) + "<|endoftext|>", parts.pictures);
}

std::string instructed_words(const PromptParts& parts, const std::string& image_token) {
  const bool both = !parts.instruction.empty() && !parts.text.empty();
  return words_of_prompt(parts.instruction + (both ? " " : "") + parts.text, image_token);
}

Prompt lamra(const PromptParts& parts, const std::string& image_token) {
  const std::string words = instructed_words(parts, image_token);
  const std::string user = parts.pictures == 0 ? words + "\n"
                           : words.empty()     ? "\nSummarize above image in one word: "
                                               : words;
  return chat(kHelpful, pictures_of(parts, image_token) + user,
              std::string(kAssistant) + "<emb>.<|im_end|>" + kAssistant, parts.pictures);
}

Prompt lamra_own(const PromptParts& parts, const std::string& image_token) {
  const std::string words = instructed_words(parts, image_token);
  const char* const what = parts.pictures == 0 ? "sentence" : words.empty() ? "image" : "image and sentence";
  return chat(kHelpful, pictures_of(parts, image_token) + words + "\nSummarize above " + what + " in one word: ",
              kAssistant, parts.pictures);
}

std::vector<PromptStyle> after_vlm2vec(std::initializer_list<PromptStyle> more) {
  const auto own = vlm2vec_prompts();
  std::vector<PromptStyle> all(own.begin(), own.end());
  all.insert(all.end(), more);
  return all;
}

}  // namespace

std::span<const PromptStyle> qwen2_prompts() {
  constexpr auto both = Instructed::both, queries = Instructed::queries;
  constexpr auto route = PictureRoute::gme;
  static const std::vector<PromptStyle> styles = after_vlm2vec({{"gme", gme, queries, route, true},
                                                                {"lamra", lamra, both, route, true},
                                                                {"lamra-own", lamra_own, queries, route, true}});
  return styles;
}

std::span<const PromptStyle> qwen3_prompts() {
  constexpr auto queries = Instructed::queries;
  constexpr auto route = PictureRoute::qwen3_embedding;
  static const std::vector<PromptStyle> styles =
      after_vlm2vec({{"qwen3-vl-embedding", qwen3_embedding_by_code, queries, route},
                     {"qwen3-vl-embedding-report", qwen3_embedding_by_report, queries, route}});
  return styles;
}

}  // namespace vlm2vec
