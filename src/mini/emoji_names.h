// Names and kinds of the emoji: Unicode's emoji-test.txt (UTS #51).
#pragma once
#include <string>
#include <vector>

namespace vlm2vec::mini {

struct Emoji {
  std::u32string code_points;  // without the variation selector U+FE0F
  std::string name;            // "tropical fish"
  std::string kind;            // the subgroup, hyphens replaced by blanks: "animal marine"
};

// The fully-qualified emoji in the order of the file; the other rows are spelling variants of these.
// `text` is the whole file, `name` stands in error messages. Errors: Exit::data with the line number.
std::vector<Emoji> parse_emoji_test(const std::string& text, const std::string& name);

}  // namespace vlm2vec::mini
