// The example of docs/your-own-data.md, as a reader types it: each of its commands runs, in a folder with a copy of the
// examples, and the last ones show what the text promises.
#include <algorithm>
#include <sstream>

#include "cli_fixture.h"

namespace vlm2vec {
namespace {

// The indented lines of the section that call the program.
std::vector<std::string> commands_of_section(const std::string& title) {
  std::istringstream page(read_text(fs::path(SOURCE_DIR) / "docs/your-own-data.md"));
  std::vector<std::string> commands;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## ")) inside = line == "## " + title;
    if (!inside || !line.starts_with("    ./vlm2vec ")) continue;
    for (std::string rest; line.ends_with('\\') && std::getline(page, rest);) line.pop_back(), line += rest;
    commands.push_back(line.substr(14, line.find("   #", 14) - 14));
  }
  return commands;
}

TEST_F(Cli, OwnDataInFiveMinutes) {
  fs::create_directory(folder_ / "examples");
  fs::copy(fs::path(SOURCE_DIR) / "examples/own-data", folder_ / "examples/own-data", fs::copy_options::recursive);
  fs::copy_file(fs::path(SOURCE_DIR) / "examples/mini-qwen2-vl.json", folder_ / "examples/mini-qwen2-vl.json");
  std::map<std::string, Result> results;  // by command
  for (const std::string& command : commands_of_section("In two seconds")) {
    const Result r = run(command);
    EXPECT_EQ(r.code, 0) << command << ": " << r.err;
    results[command.substr(0, command.find(' ', command.starts_with("data ") ? 5 : 0))] = r;
  }
  for (const char* command : {"data check", "init", "train", "eval", "embed", "search"})
    ASSERT_TRUE(results.contains(command)) << "the section has no line with " << command;
  EXPECT_TRUE(has(results["data check"].out, "nothing is missing"));
  std::istringstream log(read_text(folder_ / "runs/own/model/log.jsonl"));
  std::string last;
  for (std::string line; std::getline(log, line);) last = line;
  EXPECT_EQ(Json::parse(last).at("in_batch_accuracy"), 1.0);
  EXPECT_GE(read_json(folder_ / "runs/own/scores/summary.json").at("overall"), 80);  // other pictures of the same ten
  EXPECT_TRUE(has(read_text(folder_ / "runs/own/found.html"), "data:image/webp"));
  const std::string& found = results["search"].out;  // the last one: a heading of two lines, then rank 1
  EXPECT_LT(found.find("red-circle.png"), found.find("   2  ")) << found;
}

}  // namespace
}  // namespace vlm2vec
