// "# subgroup: animal-marine" opens a kind; "1F420 ; fully-qualified # 🐠 E0.6 tropical fish" is an emoji.
#include "mini/emoji_names.h"

#include <algorithm>
#include <sstream>

#include "io/error.h"

namespace vlm2vec::mini {

std::vector<Emoji> parse_emoji_test(const std::string& text, const std::string& name) {
  static const std::string subgroup = "# subgroup: ";
  std::vector<Emoji> emojis;
  std::string kind;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.starts_with(subgroup)) {
      kind = line.substr(subgroup.size());
      std::replace(kind.begin(), kind.end(), '-', ' ');
    }
    if (line.starts_with('#') || line.find("; fully-qualified") == std::string::npos) continue;

    Emoji emoji{.kind = kind};
    std::istringstream fields(line);
    for (uint32_t code_point; fields >> std::hex >> code_point;)
      if (code_point != 0xFE0F) emoji.code_points += char32_t(code_point);
    fields.clear();  // reading the numbers failed at the ';'
    std::string semicolon, status, hash, picture, version;
    fields >> semicolon >> status >> hash >> picture >> version >> std::ws;
    std::getline(fields, emoji.name);
    if (emoji.code_points.empty() || emoji.name.empty() || hash != "#" || kind.empty())
      fail(Exit::data, name, ": line ", number, " is \"", line,
           "\"; expected \"CODES ; fully-qualified # EMOJI E1.0 name\" under a subgroup");
    emojis.push_back(std::move(emoji));
  }
  if (emojis.empty()) fail(Exit::data, name, ": has no fully-qualified emoji; expected Unicode's emoji-test.txt");
  return emojis;
}

}  // namespace vlm2vec::mini
