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

// Returns the fully-qualified emoji in the order of the file; other rows are variants of these emoji.
// `text` is the whole file, `name` its name in errors. Throws Exit::data with the line number.
std::vector<Emoji> parse_emoji_test(const std::string& text, const std::string& name);

}  // namespace vlm2vec::mini
