#include "vlm/prompt.h"

#include <cctype>

#include "tensor/error.h"

namespace vlm2vec {
namespace {

constexpr std::string_view kStoredToken = "<|image_", kStoredEnd = "|>";

// The length of the stored token <|image_N|> at `at`, 0 if there is none.
size_t stored_token(const std::string& text, size_t at) {
  if (text.compare(at, kStoredToken.size(), kStoredToken) != 0) return 0;
  size_t end = at + kStoredToken.size();
  const size_t digits = end;
  while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
  if (end == digits || text.compare(end, kStoredEnd.size(), kStoredEnd) != 0) return 0;
  return end + kStoredEnd.size() - at;
}

}  // namespace

std::string replace_stored_tokens(std::string text, const std::string& image_token) {
  for (size_t at = 0; (at = text.find(kStoredToken, at)) != std::string::npos;) {
    if (const size_t length = stored_token(text, at)) text.replace(at, length, image_token), at += image_token.size();
    else ++at;
  }
  return text;
}

std::string build_prompt(const std::string& style, const PromptParts& parts, const std::string& image_token) {
  const auto tokens = [&](const char* separator) {
    std::string prompt;
    for (size_t i = 0; i < parts.pictures; ++i) prompt += image_token + separator;
    return prompt;
  };
  const std::string instructed = parts.instruction + (parts.text.empty() ? "" : " " + parts.text);
  if (style == "vlm2vec-v2") return tokens(" ") + instructed;
  if (style == "vlm2vec-v1") {
    const bool asks = !parts.instruction.empty();
    const std::string stored = replace_stored_tokens(asks ? instructed : parts.text, image_token);
    if (!asks && (parts.pictures == 0 || stored.find(image_token) != std::string::npos)) return stored;
    return tokens("\n") + stored + (stored.empty() ? "" : "\n");
  }
  if (style != "raw") fail(Exit::usage, "--prompt: got \"", style, "\", expected raw, vlm2vec-v1 or vlm2vec-v2");
  if (!parts.instruction.empty())
    fail(Exit::data, "has an instruction, but the prompt is raw; put it into the text, or say --prompt vlm2vec-v2");
  return parts.text;
}

}  // namespace vlm2vec
