// What the documents name exists: links, commands with their options, and in docs/method.md identifiers and tests.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>
#include <set>
#include <sstream>

#include "io/files.h"
#include "markdown.h"

namespace vlm2vec {
namespace {
namespace fs = std::filesystem;

// The page of `vlm2vec COMMAND --help`; empty if there is no such command.
const std::string& help_of(const std::string& command) {
  static std::map<std::string, std::string> pages;
  const auto [page, is_new] = pages.try_emplace(command);
  if (!is_new) return page->second;
  FILE* pipe = popen(("'" PROGRAM "' " + command + " --help 2>/dev/null").c_str(), "r");
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) page->second.append(buffer, n);
  if (pclose(pipe) != 0) page->second.clear();
  return page->second;
}

// "./vlm2vec" and what follows, in all its places: lines of code, at a prompt or indented, and spans in `backticks`.
std::vector<std::string> commands_of(const fs::path& file) {
  static const std::regex beginning(R"(^\s*(?:\$ )?(\./vlm2vec .*))");
  std::vector<std::string> found;
  const std::vector<std::string> lines = markdown::lines_of(file);
  for (size_t i = 0; i < lines.size(); ++i) {
    for (const std::string& span : markdown::code_spans(lines[i]))
      if (span.starts_with("./vlm2vec ")) found.push_back(span);
    std::smatch match;
    if (!std::regex_match(lines[i], match, beginning)) continue;
    std::string command = match[1];
    while (command.ends_with("\\") && i + 1 < lines.size()) command.back() = ' ', command += lines[++i];
    found.push_back(command);
  }
  return found;
}

// Why the command line is none; empty if it is one.
std::string fault_of(const std::string& line) {
  std::istringstream stream(line);
  std::string program, command, word;
  stream >> program >> command;
  if (command == "data") stream >> word, command += " " + word;
  if (!command.starts_with("--") && help_of(command).empty()) return "there is no command " + command;
  while (stream >> word && word != "|" && word != "#" && word != ">") {
    if (!word.starts_with("--") || word == "--help") continue;
    const std::string option = word.substr(0, word.find('='));
    if (help_of(command).find("\n  " + option + " ") == std::string::npos) return command + " has no option " + option;
  }
  return "";
}

TEST(Docs, CommandsExistWithTheirOptions) {
  size_t seen = 0;
  for (const fs::path& file : markdown::files())
    for (const std::string& line : commands_of(file)) {
      ++seen;
      EXPECT_EQ(fault_of(line), "") << file.filename() << ": " << line;
    }
  EXPECT_GT(seen, 40u);
  EXPECT_EQ(fault_of("./vlm2vec trane"), "there is no command trane");
  EXPECT_EQ(fault_of("./vlm2vec data mini --outputdir x"), "data mini has no option --outputdir");
}

TEST(Docs, OptionsInTheTextExist) {
  std::set<std::string> options;
  std::istringstream usage(help_of(""));
  for (std::string line; std::getline(usage, line);)
    if (line.starts_with("  ")) {
      std::string name = line.substr(2, 12);
      name.erase(name.find_last_not_of(' ') + 1);
      for (const std::string& option : markdown::all(help_of(name), std::regex("\n  (--[a-z_0-9]+)")))
        options.insert(option);
    }
  EXPECT_GT(options.size(), 80u);
  const std::regex option("^(--[a-z_0-9]+)");
  for (const fs::path& file : markdown::files())
    for (const std::string& line : markdown::lines_of(file))
      for (const std::string& span : markdown::code_spans(line))
        for (const std::string& name : markdown::all(span, option))
          EXPECT_TRUE(options.count(name) || name == "--help") << file.filename() << ": " << name;
}

// The anchors of a page, as GitHub makes them from its headings.
std::set<std::string> anchors_of(const fs::path& file) {
  std::set<std::string> anchors;
  for (const std::string& line : markdown::lines_of(file)) {
    if (!line.starts_with("#")) continue;
    std::string anchor;
    for (const char c : line.substr(line.find_first_not_of("# ")))
      if (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-') anchor += char(std::tolower(c));
      else if (c == ' ') anchor += '-';
    anchors.insert(anchor);
  }
  return anchors;
}

TEST(Docs, LinksLeadSomewhere) {
  const std::regex link("\\]\\(([^)\\s]+)\\)");
  size_t seen = 0;
  for (const fs::path& file : markdown::files())
    for (const std::string& line : markdown::lines_of(file))
      for (const std::string& target : markdown::all(line, link)) {
        if (target.find("://") != std::string::npos) continue;
        ++seen;
        const size_t hash = target.find('#');
        const fs::path path = hash == 0 ? file : file.parent_path() / target.substr(0, hash);
        ASSERT_TRUE(fs::exists(path)) << file.filename() << ": " << target;
        if (hash != std::string::npos) {
          EXPECT_TRUE(anchors_of(path).count(target.substr(hash + 1))) << file.filename() << ": " << target;
        }
      }
  EXPECT_GT(seen, 30u);
}

// As named in the source: "Suite.test", without instantiation and parameter.
std::set<std::string> tests() {
  std::set<std::string> names;
  const auto& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *unit.GetTestSuite(s);
    std::string name = suite.name();
    name.erase(0, name.find('/') + 1);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const std::string test = suite.GetTestInfo(t)->name();
      names.insert(name + "." + test.substr(0, test.find('/')));
    }
  }
  return names;
}

// Rows | what | [file](../file) `identifier` … | `Suite.test` … |
TEST(Docs, MethodNamesWhatIsThere) {
  const fs::path method = fs::path(SOURCE_DIR) / "docs/method.md";
  const std::regex place(R"(\]\(([^)]+)\)((?: `[^`]+`)*))");
  const std::set<std::string> known = tests();
  size_t rows = 0;
  for (const std::string& line : markdown::lines_of(method)) {
    if (!line.starts_with("| ") || line.find("](../") == std::string::npos) continue;
    ++rows;
    const size_t last = line.rfind(" | ", line.size() - 3);
    const std::string places = line.substr(0, last);
    for (std::sregex_iterator match(places.begin(), places.end(), place), end; match != end; ++match) {
      const std::string text = read_text(method.parent_path() / std::string((*match)[1]));
      const std::vector<std::string> identifiers = markdown::code_spans((*match)[2]);
      EXPECT_FALSE(identifiers.empty()) << line;
      for (const std::string& identifier : identifiers)
        EXPECT_NE(text.find(identifier), std::string::npos) << (*match)[1] << ": " << identifier;
    }
    const std::vector<std::string> names = markdown::code_spans(line.substr(last));
    EXPECT_FALSE(names.empty()) << line;
    for (const std::string& name : names) EXPECT_TRUE(known.count(name)) << name;
  }
  EXPECT_GT(rows, 15u);
}

}  // namespace
}  // namespace vlm2vec
