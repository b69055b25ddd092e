#include "vlm/tokenizer/charsmap.h"

#include <cstring>

#include "io/error.h"
#include "vlm/tokenizer/characters.h"

namespace vlm2vec {
namespace {

// A unit of the double array.
uint32_t unit_label(uint32_t unit) { return unit & 0x800000FF; }
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t leaf_value(uint32_t leaf) { return leaf & 0x7FFFFFFF; }
uint32_t unit_offset(uint32_t unit) { return unit >> 10 << (unit >> 6 & 8); }

[[noreturn]] void refuse_map(const char* what) {
  fail(Exit::data, "precompiled_charsmap is damaged: ", what, "; fetch the file again");
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  if (bytes.empty()) return;
  uint32_t size = 0;
  if (bytes.size() < sizeof size) refuse_map("it has no size");
  std::memcpy(&size, bytes.data(), sizeof size);
  bytes.remove_prefix(sizeof size);
  if (size > bytes.size() || size % 4 != 0 || size == 0) refuse_map("its trie has another size");
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data(), size);
  replacements_ = bytes.substr(size);
}

template <class Found>
void Charsmap::find(std::string_view text, Found&& found) const {
  if (units_.empty()) return;
  const auto unit_at = [&](uint32_t at) {
    if (at >= units_.size()) refuse_map("its trie points outside itself");
    return units_[at];
  };
  uint32_t at = unit_offset(unit_at(0));
  for (size_t i = 0; i < text.size(); ++i) {
    const uint32_t byte = uint8_t(text[i]), unit = unit_at(at ^= byte);
    if (byte == 0 || unit_label(unit) != byte) return;
    at ^= unit_offset(unit);
    if (!has_leaf(unit)) continue;
    const uint32_t begin = leaf_value(unit_at(at));
    const size_t end = replacements_.find('\0', begin);
    if (end == std::string::npos) refuse_map("its trie points outside the replacements");
    if (!found(Rule{i + 1, std::string_view(replacements_).substr(begin, end - begin)})) return;
  }
}

std::optional<Charsmap::Rule> Charsmap::longest(std::string_view text) const {
  std::optional<Rule> rule;
  find(text, [&](const Rule& longer) { return rule = longer, true; });
  return rule;
}

std::optional<Charsmap::Rule> Charsmap::shortest(std::string_view text) const {
  std::optional<Rule> rule;
  find(text, [&](const Rule& first) { return rule = first, false; });
  return rule;
}

std::string Charsmap::by_graphemes(std::string_view text) const {
  std::string mapped;
  const auto append = [&](std::string_view part) {
    const std::optional<Rule> rule = shortest(part);
    mapped += rule ? rule->replacement : part;
  };
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    auto [before, length] = character_at(text, begin);
    utf8proc_int32_t state = 0;
    for (end = begin + length; end < text.size(); end += length) {
      const CodePoint next = character_at(text, end);
      if (utf8proc_grapheme_break_stateful(before, next.code, &state)) break;
      before = next.code, length = next.length;
    }
    const std::string_view grapheme = text.substr(begin, end - begin);
    if (grapheme.size() < 6 && shortest(grapheme)) {
      append(grapheme);
      continue;
    }
    for (size_t i = 0; i < grapheme.size(); i += length) {
      length = character_at(grapheme, i).length;
      append(grapheme.substr(i, length));
    }
  }
  return mapped;
}

}  // namespace vlm2vec
