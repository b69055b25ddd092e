// The --help page of a command: purpose, options with values and defaults, an example. "--help all" also lists options
// of other programs.
#include <algorithm>
#include <sstream>

#include "cli/command_line.h"
#include "io/shell_word.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

constexpr size_t kWidth = 100, kIndent = 34;

// Wraps words into lines of kWidth columns. The first line begins at column `at`, the others at `indent`.
std::string wrap(const std::string& text, size_t at, size_t indent) {
  std::istringstream words(text);
  std::string lines;
  size_t column = at;
  bool first = true;
  for (std::string word; words >> word; first = false) {
    const size_t letters =
        size_t(std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xC0) != 0x80; }));  // characters
    if (!first && column + 1 + letters > kWidth) lines += "\n" + std::string(indent, ' '), column = indent;
    else if (!first) lines += ' ', ++column;
    lines += word;
    column += letters;
  }
  return lines + "\n";
}

// Breaks a long list of choices behind a "|".
std::string broken(std::string name) {
  for (size_t begin = 0, indent = 6; name.size() - begin > kWidth;) {
    const size_t bar = name.rfind('|', begin + kWidth - indent);
    if (bar == name.npos || bar <= begin) break;
    begin = bar + 2;
    name.insert(bar + 1, "\n" + std::string(indent, ' '));
  }
  return name;
}

std::string entry(const std::string& name, const std::string& help) {
  std::string line = "  " + broken(name);
  if (line.size() + 2 > kIndent) line += "\n" + std::string(kIndent, ' ');
  else line.resize(kIndent, ' ');
  return line + wrap(help, kIndent, kIndent);
}

}  // namespace

// Lists the names in alphabetical order.
std::string CommandLine::foreign_names() const {
  std::vector<std::string> words;
  for (const Option& option : options_)
    if (option.foreign) words.push_back(option.name);
  for (const auto& [name, alias] : aliases_) words.push_back(name + " (--" + alias.option + ")");
  std::sort(words.begin(), words.end());
  return joined(words);
}

std::string CommandLine::help_page(bool with_foreign) const {
  std::string page =
      purpose_ + "\n\nUsage: " + command_line(command_) + (words_ ? " " + words_name_ : "") + " [OPTIONS]\n\n";
  if (words_) page += entry(words_name_, words_help_) + "\n";
  std::string title;
  for (const Option& option : options_) {
    if (option.foreign) continue;
    if (option.section != title || title.empty()) {
      page += (title.empty() ? "" : "\n") + option.section + ":\n";
      title = option.section;
    }
    const std::string standard = option.required ? "required" : option.standard;
    page += entry("--" + option.name + " " + option.kind,
                  option.help + (standard.empty() ? "" : " [" + standard + "]"));
  }
  const std::string names = foreign_names();
  page += entry("-h, --help", names.empty()  ? "this page"
                              : with_foreign ? "this page without the names below"
                                             : "this page; --help all also lists names from official command lines");
  if (with_foreign && !names.empty())
    page += "\nAlso accepted from official command lines, unless they would change the result:\n  " + wrap(names, 2, 2);
  return page + "\nExample:\n  " + command_line("") + example_ + "\n";
}

}  // namespace vlm2vec
