#include "vlm/tokenizer/bert.h"

#include <algorithm>
#include <iterator>

#include "vlm/tokenizer/characters.h"
#include "vlm/tokenizer/normalizer.h"

namespace vlm2vec {
namespace {

struct CodeRange {
  int32_t first, last;
};

template <size_t n>
bool contains(const CodeRange (&ranges)[n], int32_t code) {
  const auto next = std::ranges::upper_bound(ranges, code, {}, &CodeRange::first);
  return next != std::begin(ranges) && code <= std::prev(next)->last;
}

// True for marks, punctuation and format characters that are newer than the reference's tables; of other characters it
// may say anything.
bool is_newer(int32_t code) {
  static constexpr CodeRange ranges[] = {
      {0x061D, 0x061D},   {0x07FD, 0x07FD},   {0x0890, 0x08E2},   {0x09FD, 0x09FE},   {0x0A76, 0x0A76},
      {0x0AFA, 0x0AFF},   {0x0B55, 0x0B55},   {0x0C04, 0x0C3C},   {0x0C77, 0x0C77},   {0x0C84, 0x0C84},
      {0x0D00, 0x0D00},   {0x0D3B, 0x0D3C},   {0x0D81, 0x0D81},   {0x0EBA, 0x0EBA},   {0x0ECE, 0x0ECE},
      {0x180F, 0x1886},   {0x1ABF, 0x1ACE},   {0x1B7D, 0x1B7E},   {0x1DF6, 0x1DFB},   {0x2E43, 0x2E5D},
      {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F89},
      {0x11070, 0x11074}, {0x110C2, 0x110CD}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
      {0x1133B, 0x1133B}, {0x11438, 0x1145E}, {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1182F, 0x11FFF},
      {0x12FF1, 0x13455}, {0x16E97, 0x16F4F}, {0x16FE2, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF},
      {0x1E944, 0x1E95F}};
  return contains(ranges, code);
}

bool is_chinese(int32_t code) {
  static constexpr CodeRange ranges[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                                         {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  return contains(ranges, code);
}

bool is_removed(int32_t code) {
  if (code == 0 || code == 0xFFFD) return true;
  if (code == '\t' || code == '\n' || code == '\r') return false;
  const auto category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CO ||
         (category == UTF8PROC_CATEGORY_CF && !is_newer(code));
}

bool is_accent(int32_t code) {  // U+1734 was one
  return code == 0x1734 || (utf8proc_category(code) == UTF8PROC_CATEGORY_MN && !is_newer(code));
}

bool is_punctuation(int32_t code) {  // U+166D and U+111C9 were
  if (code < 0x80) return is_ascii_punctuation(code);
  const auto category = utf8proc_category(code);
  const bool is_any = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
  return code == 0x166D || code == 0x111C9 || (is_any && !is_newer(code));
}

}  // namespace

std::string BertText::normalized(std::string_view text) const {
  std::string normal;
  for (size_t i = 0; i < text.size();) {
    auto [code, length] = character_at(text, i);
    i += length;
    if (clean_text && is_removed(code)) continue;
    if (clean_text && is_white_space(code)) code = ' ';
    const bool is_alone = handle_chinese_chars && is_chinese(code);
    if (is_alone) normal += ' ';
    append_character(normal, code);
    if (is_alone) normal += ' ';
  }
  if (strip_accents) {
    const std::string decomposed = normalize_nfd(normal);
    normal.clear();
    for (size_t i = 0; i < decomposed.size();) {
      const auto [code, length] = character_at(decomposed, i);
      i += length;
      if (!is_accent(code)) append_character(normal, code);
    }
  }
  return lowercase ? lower_case(normal) : normal;
}

void split_bert_words_into(std::string_view text, std::vector<std::string_view>& words) {
  size_t begin = 0;
  const auto end_word = [&](size_t end) {
    if (begin < end) words.push_back(text.substr(begin, end - begin));
    begin = end;
  };
  for (size_t i = 0; i < text.size();) {
    const auto [code, length] = character_at(text, i);
    const bool is_blank = is_white_space(code);
    if (is_blank || is_punctuation(code)) {
      end_word(i);
      if (is_blank) begin = i + length;
      else end_word(i + length);
    }
    i += length;
  }
  end_word(text.size());
}

}  // namespace vlm2vec
