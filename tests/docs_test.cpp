// What the documents name exists: links, commands with their options, tests, quoted code, in docs/method.md
// identifiers; the picture of the rooms is that of the includes; lines fit the screen.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>

#include "io/files.h"
#include "markdown.h"
#include "shell.h"
#include "temporary_folder.h"

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

TEST(Docs, NamedTestsExist) {
  const std::regex name(R"(^([A-Z]\w*\.\w+)$)"), file(R"(\.(md|h|cpp|cu)$)");
  const std::set<std::string> known = tests();
  size_t seen = 0;
  for (const fs::path& page : markdown::files())
    for (const std::string& line : markdown::lines_of(page))
      for (const std::string& span : markdown::code_spans(line)) {
        if (!std::regex_match(span, name) || std::regex_search(span, file)) continue;
        ++seen;
        EXPECT_TRUE(known.count(span)) << page.filename() << ": " << span;
      }
  EXPECT_GT(seen, 40u);
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

using Lines = std::vector<std::string>;

// Do these lines stand one after another in the file? … stands for anything in a line.
bool stand_in(const Lines& lines, const Lines& file) {
  return std::search(file.begin(), file.end(), lines.begin(), lines.end(), markdown::line_matches) != file.end();
}

// ```diff blocks of docs/adding.md: "+++ file", then lines that it has; @@ stands between places.
TEST(Docs, AddedLinesStandInTheirFiles) {
  size_t places = 0;
  for (const markdown::Block& block : markdown::blocks_of(fs::path(SOURCE_DIR) / "docs/adding.md")) {
    if (block.language != "diff") continue;
    Lines file, added;
    const auto check = [&] {
      if (added.empty()) return;
      ++places;
      EXPECT_TRUE(stand_in(added, file)) << block.where << ": " << added[0];
      added.clear();
    };
    for (const std::string& line : block.lines) {
      if (line.starts_with("+++ ")) {
        check();
        file = markdown::lines_of(fs::path(SOURCE_DIR) / line.substr(4));
      } else if (line.starts_with("+")) {
        added.push_back(line.substr(1));
      } else {
        EXPECT_EQ(line, "@@") << block.where;
        check();
      }
    }
    check();
  }
  EXPECT_GT(places, 15u);
}

TEST(Docs, QuotedCodeStandsInSomeFile) {
  std::vector<Lines> files;
  for (const char* folder : {"src", "kernels", "examples", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(SOURCE_DIR) / folder))
      if (std::set<std::string>{".h", ".cpp", ".cu"}.count(entry.path().extension()))
        files.push_back(markdown::lines_of(entry.path()));
  size_t quotes = 0;
  for (const fs::path& page : markdown::files())
    for (const markdown::Block& block : markdown::blocks_of(page)) {
      if (block.language != "cpp") continue;
      ++quotes;
      std::vector<Lines> parts(1);  // … alone: lines are left out
      for (const std::string& line : block.lines)
        if (line.ends_with("  …")) parts.emplace_back();
        else parts.back().push_back(line);
      const auto has_all = [&](const Lines& file) {
        return std::all_of(parts.begin(), parts.end(), [&](const Lines& part) { return stand_in(part, file); });
      };
      EXPECT_TRUE(std::any_of(files.begin(), files.end(), has_all)) << block.where;
    }
  EXPECT_GT(quotes, 8u);
}

TEST(Docs, LinesFitTheScreen) {
  const fs::path root = SOURCE_DIR;
  std::vector<fs::path> pages = {root / "README.md"};
  for (const auto& entry : fs::directory_iterator(root / "docs"))
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  EXPECT_GT(pages.size(), 8u);
  for (const fs::path& page : pages)
    for (const markdown::Line& line : markdown::prose_of(page)) {
      const auto columns = std::count_if(line.text.begin(), line.text.end(), [](char c) { return (c & 0xC0) != 0x80; });
      EXPECT_LE(columns, 120) << page.filename() << ":" << line.number;
      EXPECT_FALSE(std::regex_search(line.text, std::regex("(^|[.:!?] )Of "))) << page.filename() << ":" << line.number;
    }
}

std::string rooms_of(const fs::path& root) {
  return output_of("'" SOURCE_DIR "/tools/rooms.sh' '" + root.string() + "' 2>&1");
}

TEST(Docs, ThePictureOfTheRoomsIsThatOfTheIncludes) {
  EXPECT_TRUE(rooms_of(SOURCE_DIR) == read_text(SOURCE_DIR "/docs/rooms.svg"))
      << "docs/rooms.svg is old; draw it again: tools/rooms.sh > docs/rooms.svg";
}

TEST(Docs, ThePictureOfTheRoomsShowsAnInclude) {
  const TemporaryFolder folder("rooms");
  for (const char* room : {"src/io", "src/nn", "src/mmeb/data", "kernels"}) fs::create_directories(folder / room);
  write_text(folder / "src/nn/a.cpp", "#include <map>\n#include \"io/a.h\"\n");
  write_text(folder / "src/mmeb/data/a.h", "  # include \"nn/a.h\"\n");
  write_text(folder / "src/io/a.cpp", "#include \"nn/a.h\"\n");
  const std::string picture = rooms_of(folder.path());
  const auto shown = [&](const std::string& text) { return picture.find(text) != std::string::npos; };
  EXPECT_TRUE(shown(">nn includes io<") && shown(">mmeb/data includes nn<")) << picture;
  EXPECT_TRUE(shown(">io includes from above: nn/a.h<")) << picture;
  EXPECT_FALSE(shown(">nn includes kernels<") || shown(">mmeb/data includes io<")) << picture;
  write_text(folder / "src/io/b.cpp", "#include \"attic/b.h\"\n");
  EXPECT_NE(rooms_of(folder.path()).find("no room for attic/b.h:io/b.cpp"), std::string::npos);
}

}  // namespace
}  // namespace vlm2vec
