// docs/tour.md shows what the program prints, and its changes fit the source.
//   ```console   lines "$ command" (a \ at the end goes on), each with its output; … stands for anything in a line, and
//                alone for any number of lines
//   ```diff      "--- file", then changes: lines taken out (-), which stand in the file once, and lines put in (+)
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <span>
#include <sstream>

#include "markdown.h"
#include "mini_fixture.h"
#include "shell.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;
const fs::path tour = fs::path(SOURCE_DIR) / "docs/tour.md";
const std::string anything = "…";

using markdown::line_matches;

bool matches(std::span<const std::string> text, std::span<const std::string> pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == anything)
    return matches(text, pattern.subspan(1)) || (!text.empty() && matches(text.subspan(1), pattern));
  return !text.empty() && line_matches(text[0], pattern[0]) && matches(text.subspan(1), pattern.subspan(1));
}

std::string joined(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

struct ShownCommand {
  std::string command, where;
  Lines output;
};

std::vector<ShownCommand> shown_commands() {
  std::vector<ShownCommand> commands;
  for (const markdown::Block& block : markdown::blocks_of(tour)) {
    if (block.language != "console") continue;
    for (size_t i = 0; i < block.lines.size(); ++i) {
      const std::string& line = block.lines[i];
      if (!line.starts_with("$ ")) {
        commands.back().output.push_back(line);
        continue;
      }
      commands.push_back({line.substr(2), block.where, {}});
      while (commands.back().command.ends_with("\\")) commands.back().command += "\n" + block.lines.at(++i);
    }
  }
  return commands;
}

// What a shell without a GPU prints, errors too, but for the line that a program with CUDA then adds.
Lines printed_lines(const std::string& command) {
  Lines lines;
  std::istringstream stream(output_of("exec 2>&1; export CUDA_VISIBLE_DEVICES=\n" + command));
  for (std::string line; std::getline(stream, line);)
    if (!line.starts_with("device cpu: ")) lines.push_back(line);
  return lines;
}

class TourCommands : public mini::WithFont {};

TEST_F(TourCommands, PrintWhatIsShown) {
  const TemporaryFolder folder("tour");  // looks like the repository after `make` and `make test`
  fs::create_symlink(PROGRAM, folder / "vlm2vec");
  fs::create_directories(folder / "build/tests");
  fs::create_symlink(fs::read_symlink("/proc/self/exe"), folder / "build/tests/tests");
  fs::create_symlink(fs::path(PROGRAM).replace_filename("tiny_contrastive"), folder / "build/tiny_contrastive");
  for (const char* name : {"examples", "src", "kernels", "tests"})
    fs::create_symlink(fs::path(SOURCE_DIR) / name, folder / name);
  const auto all = shown_commands();
  ASSERT_GE(all.size(), 9u);  // one for each stop
  for (const ShownCommand& shown : all) {
    const Lines lines = printed_lines("cd '" + folder.path().string() + "'\n" + shown.command);
    ASSERT_TRUE(matches(lines, shown.output)) << shown.where << ": " << shown.command << "\nshown:\n"
                                              << joined(shown.output) << "printed:\n"
                                              << joined(lines);
  }
}

TEST(TourComparison, CanFail) {
  EXPECT_TRUE(matches(Lines{"a 12 b", "c", "d"}, Lines{"a … b", "…", "d"}));
  EXPECT_TRUE(matches(Lines{"a", "d"}, Lines{"a", "…", "d"}));
  EXPECT_TRUE(line_matches("loss 4.2021  ", "loss 4.20…"));
  EXPECT_FALSE(line_matches("loss 4.1021", "loss 4.20…"));
  EXPECT_FALSE(line_matches("a loss 4.20", "loss …"));
  EXPECT_FALSE(line_matches("ab", "ab…b"));
  EXPECT_FALSE(matches(Lines{"a"}, Lines{"a", "b"}));
  EXPECT_FALSE(matches(Lines{"a", "b"}, Lines{"a"}));
}

// How often the lines stand one after another in the file.
long occurrences(const Lines& lines, const Lines& file) {
  long count = 0;
  for (size_t i = 0; i + lines.size() <= file.size(); ++i)
    count += std::equal(lines.begin(), lines.end(), file.begin() + long(i));
  return count;
}

TEST(TourBreaks, FitTheSource) {
  size_t changes = 0;
  for (const markdown::Block& block : markdown::blocks_of(tour)) {
    if (block.language != "diff") continue;
    Lines file;
    for (auto line = block.lines.begin(); line != block.lines.end();) {
      if (line->starts_with("--- ")) {
        file = markdown::lines_of(fs::path(SOURCE_DIR) / line++->substr(4));
        continue;
      }
      Lines out, in;
      for (; line != block.lines.end() && line->starts_with("-") && !line->starts_with("--- "); ++line)
        out.push_back(line->substr(1));
      for (; line != block.lines.end() && line->starts_with("+"); ++line) in.push_back(line->substr(1));
      ASSERT_FALSE(out.empty()) << block.where << ": a change begins with what is taken out";
      EXPECT_NE(out, in) << block.where;
      EXPECT_EQ(occurrences(out, file), 1) << block.where << ": " << joined(out);
      ++changes;
    }
  }
  EXPECT_GT(changes, 8u);
}

TEST(TourStops, AreNineWithACommandAndABreakEach) {
  std::map<std::string, std::set<std::string>> languages;  // of the blocks of each stop
  std::string stop;
  for (const std::string& line : markdown::lines_of(tour)) {
    if (line.starts_with("## ")) stop = line;
    if (line.starts_with("```") && line.size() > 3) languages[stop].insert(line.substr(3));
  }
  size_t stops = 0;
  for (const auto& [title, found] : languages) {
    if (!std::regex_search(title, std::regex("^## [0-9]\\."))) continue;
    ++stops;
    EXPECT_TRUE(found.count("console") && found.count("diff")) << title;
  }
  EXPECT_EQ(stops, 9u);
}

}  // namespace
}  // namespace vlm2vec
