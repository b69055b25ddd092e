#include "vlm/prompt.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/error.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

constexpr std::string_view kStoredToken = "<|image_", kStoredEnd = "|>";
constexpr auto kReplace = nlohmann::json::error_handler_t::replace;

// An image token of a text.
struct ImageToken {
  size_t begin = 0, length = 0;
  std::string number;  // of a stored one; empty: the model's own
};

// The stored token <|image_N|> at `at`; length 0 if there is none.
ImageToken stored_token(const std::string& text, size_t at) {
  if (text.compare(at, kStoredToken.size(), kStoredToken) != 0) return {};
  size_t end = at + kStoredToken.size();
  const size_t digits = end;
  while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
  if (end == digits || text.compare(end, kStoredEnd.size(), kStoredEnd) != 0) return {};
  return {at, end + kStoredEnd.size() - at, text.substr(digits, end - digits)};
}

std::vector<ImageToken> image_tokens(const std::string& text, const std::string& own) {
  std::vector<ImageToken> tokens;
  const std::string beginnings = {kStoredToken[0], own.empty() ? kStoredToken[0] : own[0]};
  for (size_t at = 0; (at = text.find_first_of(beginnings, at)) != text.npos;) {
    ImageToken token = stored_token(text, at);
    if (token.length == 0 && !own.empty() && text.compare(at, own.size(), own) == 0) token = {at, own.size(), ""};
    at += std::max<size_t>(1, token.length);
    if (token.length > 0) tokens.push_back(std::move(token));
  }
  return tokens;
}

Prompt in_order(const std::string& text, size_t pictures) {
  Prompt prompt{text, std::vector<size_t>(pictures)};
  std::iota(prompt.pictures.begin(), prompt.pictures.end(), size_t(0));
  return prompt;
}

Prompt raw(const PromptParts& parts, const std::string& image_token) {
  if (!parts.instruction.empty())
    fail(Exit::data, "has an instruction, but the prompt is raw; put it into the text, or say ", kBuiltPrompt);
  return image_token == kNumberedImageToken ? place_pictures(parts.text, parts.pictures, image_token)
                                            : in_order(parts.text, parts.pictures);
}

std::string instructed(const PromptParts& parts) {
  return parts.instruction + (parts.text.empty() ? "" : " " + parts.text);
}

// Whether the words say where the row's pictures stand.
bool places(const PromptParts& parts, const std::string& image_token) {
  return count_image_tokens(instructed(parts), image_token) > 0;
}

// Returns an image token for each picture, unless the words place them.
std::string tokens_before(const PromptParts& parts, const std::string& image_token, const char* separator) {
  std::string tokens;
  const size_t pictures = image_token.empty() || places(parts, image_token) ? 0 : parts.pictures;
  for (size_t i = 0; i < pictures; ++i) tokens += image_token_of(image_token, i) + separator;
  return tokens;
}

Prompt vlm2vec_v1(const PromptParts& parts, const std::string& image_token) {
  const std::string words = parts.instruction.empty() ? parts.text : instructed(parts);
  const bool as_it_is = parts.instruction.empty() && (parts.pictures == 0 || places(parts, image_token));
  return place_pictures(tokens_before(parts, image_token, "\n") + words + (as_it_is || words.empty() ? "" : "\n"),
                        parts.pictures, image_token);
}

Prompt vlm2vec_v2(const PromptParts& parts, const std::string& image_token) {
  const bool stored = parts.instruction.empty() && places(parts, image_token);  // as a row of MMEB has it
  return place_pictures(stored ? parts.text : tokens_before(parts, image_token, " ") + instructed(parts),
                        parts.pictures, image_token);
}

}  // namespace

std::string image_token_of(const std::string& image_token, size_t picture) {
  return image_token == kNumberedImageToken ? sentence(kStoredToken, picture + 1, kStoredEnd) : image_token;
}

Prompt place_pictures(const std::string& text, size_t pictures, const std::string& image_token) {
  const std::vector<ImageToken> tokens = image_tokens(text, image_token);
  Prompt prompt = in_order("", pictures);
  if (image_token == kNumberedImageToken && tokens.size() != pictures) return prompt.text = text, prompt;
  if (pictures > 0 && tokens.size() == pictures) {
    std::vector<size_t> order;
    for (const ImageToken& token : tokens) {
      const size_t number = token.number.empty() ? order.size() + 1 : std::strtoull(token.number.c_str(), nullptr, 10);
      if (number >= 1 && number <= pictures && !std::count(order.begin(), order.end(), number - 1))
        order.push_back(number - 1);
    }
    if (order.size() < pictures) return prompt.text = text, prompt;
    prompt.pictures = order;
  }
  size_t end = 0, n = 0;
  for (const ImageToken& token : tokens) {
    prompt.text.append(text, end, token.begin - end).append(image_token_of(image_token, n++));
    end = token.begin + token.length;
  }
  prompt.text.append(text, end);
  return prompt;
}

std::vector<std::string> texts_around_images(const std::string& text, const std::string& image_token) {
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const ImageToken& token : image_tokens(text, image_token)) {
    texts.push_back(text.substr(begin, token.begin - begin));
    begin = token.begin + token.length;
  }
  texts.push_back(text.substr(begin));
  return texts;
}

size_t count_image_tokens(const std::string& text, const std::string& image_token) {
  return image_tokens(text, image_token).size();
}

std::string prompt_fault(const std::string& prompt, size_t pictures, const std::string& image_token, bool has_option) {
  if (prompt.empty() && pictures == 0) return "has neither text nor picture; nothing can stand for its embedding";
  const std::vector<ImageToken> tokens = image_tokens(prompt, image_token);
  const bool numbered = image_token == kNumberedImageToken;
  const std::string shown = nlohmann::json(one_line(prompt)).dump(-1, ' ', false, kReplace),
                    count = counted(pictures, "picture");
  for (size_t n = 0; numbered && pictures > 0 && n < tokens.size(); ++n)
    if (tokens[n].number != std::to_string(n + 1))
      return sentence("the text ", shown, " has <|image_", tokens[n].number, "|> where <|image_", n + 1,
                      "|> is expected; the tokens must name each of ", count, " once");
  for (const ImageToken& token : tokens) {
    if (token.number.empty() || numbered) continue;
    if (image_token.empty())
      return sentence("the text ", shown, " has <|image_", token.number, "|> and ", count, "; prompts of this model ",
                      "have no image token, so take it out",
                      has_option ? " (--prompt vlm2vec-v1 and vlm2vec-v2 do)" : "");
    return sentence("the text ", shown, " has <|image_", token.number, "|> and ", count, "; in rows <|image_1|> ",
                      "stands for the first picture, <|image_2|> for the second, each once, and in a raw prompt ",
                      image_token, " stands for each",
                      has_option ? " (--prompt vlm2vec-v1 and vlm2vec-v2 replace <|image_1|>)" : "");
  }
  if (image_token.empty())
    return pictures > 1 ? sentence("has ", count, "; this model reads a text, a picture or both") : "";
  if (pictures == 0 || tokens.size() == pictures) return "";
  return sentence("the text ", shown, " has ", counted(tokens.size(), "image token"), " (\"", image_token,
                  numbered ? "\", <|image_2|>, …) and " : "\"; in MMEB's rows <|image_1|>) and ", count,
                  "; every picture needs one",
                  has_option ? sentence(" (", kBuiltPrompt, ", puts it there)") : "");
}

std::span<const PromptStyle> vlm2vec_prompts() {
  static constexpr PromptStyle styles[] = {
      {"raw", raw, Instructed::none}, {"vlm2vec-v1", vlm2vec_v1}, {"vlm2vec-v2", vlm2vec_v2}};
  return styles;
}

const PromptStyle& prompt_style(std::span<const PromptStyle> styles, const std::string& name) {
  std::vector<std::string> names;
  for (const PromptStyle& style : styles) {
    if (name == style.name) return style;
    names.push_back(style.name);
  }
  fail(Exit::usage, "--prompt: got \"", name, "\", expected ", joined(names, ", ", " or "));
}

const PromptStyle* style_named(std::span<const PromptStyle> styles, const std::string& name) {
  return name.empty() ? nullptr : &prompt_style(styles, name);
}

}  // namespace vlm2vec
