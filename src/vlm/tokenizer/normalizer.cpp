#include "vlm/tokenizer/normalizer.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>

#include "io/base64.h"
#include "io/files.h"
#include "vlm/tokenizer/bert.h"
#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/charsmap.h"
#include "vlm/tokenizer/refusal.h"
#include "vlm/tokenizer/splitter.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// True for characters since Unicode 10 that have a combining class or are part of a composition; the ranges hold no
// older ones.
bool is_too_new(int32_t code) {
  struct Range {
    int32_t first, last;
  };
  static constexpr Range ranges[] = {{0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
                                     {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
                                     {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
                                     {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F85}, {0x11070, 0x11070},
                                     {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11943},
                                     {0x119E0, 0x119E0}, {0x11A34, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D45},
                                     {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F},
                                     {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};
  const auto next = std::ranges::upper_bound(ranges, code, {}, &Range::first);
  return next != std::begin(ranges) && code <= std::prev(next)->last;
}

void append_form(int form, std::string& normal, std::string_view text) {
  if (text.empty()) return;
  utf8proc_uint8_t* composed = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()),
                                 &composed, utf8proc_option_t(UTF8PROC_STABLE | form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(composed, &std::free);
  if (size < 0) fail(Exit::data, "text cannot be normalised: ", utf8proc_errmsg(size));
  normal.append(reinterpret_cast<const char*>(composed), size_t(size));
}

std::string replace_matches(std::string_view text, const Pattern& pattern, std::string_view content) {
  std::string replaced;
  size_t last = 0;
  for (const auto [begin, end] : pattern.matches(text)) {
    replaced.append(text, last, begin - last).append(content);
    last = end;
  }
  return replaced.append(text, last);
}

}  // namespace

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (size_t last = 0, next; last <= text.size(); last = next + from.size()) {
    next = std::min(text.find(from, last), text.size());
    result.append(text, last, next - last);
    if (next == text.size()) break;
    result += to;
  }
  return result;
}

namespace {

std::string normalize(int form, std::string_view text) {
  // Nothing below U+0300 is ever composed, nothing below U+00C0 decomposed.
  const auto combining = [&](char byte) { return uint8_t(byte) >= (form == UTF8PROC_COMPOSE ? 0xCC : 0xC3); };
  if (std::none_of(text.begin(), text.end(), combining)) return std::string(text);
  std::string normal;
  size_t begin = 0;  // where the text is not yet normalised
  for (size_t i = 0; i < text.size();) {
    const auto [code, length] = character_at(text, i);
    if (is_too_new(code)) {
      append_form(form, normal, text.substr(begin, i - begin));
      normal += text.substr(i, length);
      begin = i + length;
    }
    i += length;
  }
  append_form(form, normal, text.substr(begin));
  return normal;
}

}  // namespace

std::string normalize_nfc(std::string_view text) { return normalize(UTF8PROC_COMPOSE, text); }
std::string normalize_nfd(std::string_view text) { return normalize(UTF8PROC_DECOMPOSE, text); }

std::string lower_case(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    if (const auto byte = uint8_t(text[i]); byte < 0x80) {
      lower += char(byte >= 'A' && byte <= 'Z' ? byte + 32 : byte);
      ++i;
      continue;
    }
    const auto [code, length] = character_at(text, i);
    append_character(lower, utf8proc_tolower(code));
    if (code == 0x130) lower += "\u0307";  // the one lower case of two characters: i and a dot above
    i += length;
  }
  return lower;
}

namespace {

Charsmap read_charsmap(const std::string& base64) {
  const std::vector<uint8_t> bytes = naming([&] { return from_base64(base64); }, "precompiled_charsmap");
  if (bytes.empty()) fail(Exit::data, "precompiled_charsmap is empty");
  return Charsmap({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

BertText read_bert_text(const json& part) {
  BertText bert;
  bert.clean_text = part.at("clean_text");
  bert.handle_chinese_chars = part.at("handle_chinese_chars");
  bert.lowercase = part.at("lowercase");
  bert.strip_accents = has_value(part, "strip_accents") ? part["strip_accents"].get<bool>() : bert.lowercase;
  return bert;
}

}  // namespace

Normalizer::Normalizer(const json& part) {
  if (type_of(part) != "Sequence") add(part);
  else
    for (const json& step : part.at("normalizers")) add(step);
}

void Normalizer::add(const json& part) {
  const std::string type = type_of(part);
  if (type == "NFC") steps_.push_back(normalize_nfc);
  else if (type == "Lowercase") steps_.push_back(lower_case);
  else if (type == "Replace" && part.at("pattern").contains("Regex"))
    steps_.push_back([pattern = search_pattern(part["pattern"]["Regex"]),
                      content = part.at("content").get<std::string>()](std::string_view text) {
      return replace_matches(text, pattern, content);
    });
  else if (type == "Replace" && part["pattern"].value("String", "") != "")
    steps_.push_back([from = part["pattern"]["String"].get<std::string>(),
                      to = part.at("content").get<std::string>()](std::string_view text) {
      return replaced(text, from, to);
    });
  else if (type == "Replace") refuse("the Replace normalizer's pattern is ", part["pattern"]);
  else if (type == "Strip")
    steps_.push_back([left = part.at("strip_left").get<bool>(), right = part.at("strip_right").get<bool>()](
                         std::string_view text) {
      if (right) text = text.substr(0, end_without_blanks(text));
      return std::string(left ? text.substr(blanks_at_start(text)) : text);
    });
  else if (type == "Precompiled")
    steps_.push_back([map = read_charsmap(part.at("precompiled_charsmap"))](std::string_view text) {
      return map.by_graphemes(text);
    });
  else if (type == "BertNormalizer")
    steps_.push_back([bert = read_bert_text(part)](std::string_view text) { return bert.normalized(text); });
  else if (type == "Prepend")
    steps_.push_back([prefix = part.at("prepend").get<std::string>()](std::string_view text) {
      return text.empty() ? "" : prefix + std::string(text);
    });
  else if (!part.is_null()) refuse("the normalizer is ", shown(type));
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string normal(text);
  for (const auto& step : steps_) normal = step(normal);
  return normal;
}

}  // namespace vlm2vec
