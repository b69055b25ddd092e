// "No option without effect" as a fixture: a command is run without and with an option, and something must differ that
// a user sees: the exit code, what is printed, or a written file.
#pragma once
#include <map>
#include <regex>
#include <set>

#include "cli_fixture.h"

namespace vlm2vec {

using Options = std::map<std::string, std::string>;  // "" takes an option of the base away

enum class Seen {
  output,
  on_stderr,
  in_memory
};  // printed or written; by messages, too; by log.jsonl's peak_bytes, too

struct Effect {
  std::string option, value;  // a value "test Suite.Name" names the test that sees what no run here can show
  Options also = {};          // given in both runs
  int code = 0;               // of the run with the option
  Seen seen = Seen::output;
};
struct CommandEffects {
  std::string command, words;
  Options base;
  std::vector<Effect> effects;
};

class OptionEffects : public Cli {
 protected:
  // Every option that --help shows is in the table, none else is, and each has its effect.
  void check(const CommandEffects& table) {
    std::set<std::string> shown, listed;
    const std::string help = run(table.command + " --help").out;
    static const std::regex pattern("\n  --([a-z0-9_]+)");
    for (std::sregex_iterator i(help.begin(), help.end(), pattern), end; i != end; ++i) shown.insert((*i)[1]);
    for (const Effect& effect : table.effects) listed.insert(effect.option);
    EXPECT_EQ(shown, listed) << table.command;
    const std::string once = seen(table, {}, Seen::on_stderr);
    seen_.clear();
    EXPECT_EQ(once, seen(table, {}, Seen::on_stderr)) << "a difference would say nothing: no two runs are equal";
    for (const Effect& effect : table.effects) {
      if (effect.option == "threads") {
        check_threads(table);
        continue;
      }
      if (effect.value.starts_with("test ")) {
        EXPECT_TRUE(test_exists(effect.value.substr(5))) << effect.value;
        continue;
      }
      const std::string without = seen(table, effect.also, effect.seen);
      Options with = effect.also;
      with[effect.option] = effect.value;
      const std::string seen_with = seen(table, with, effect.seen);
      EXPECT_NE(without, seen_with) << table.command << " --" << effect.option << " changes nothing";
      EXPECT_TRUE(seen_with.starts_with("exit " + std::to_string(effect.code) + "\n"))
          << table.command << " --" << effect.option << ": " << seen_with.substr(0, 300);
    }
  }
  void keep_files() {  // what is there now is input
    inputs_ = list();
  }

 private:
  // With stacks of 64 TiB the system refuses a second thread, and only that.
  void check_threads(const CommandEffects& table) const {
    const auto ask = [&](const char* threads) {
      const Result r =
          run(line_of(table, {{"threads", threads}}), "{ ulimit -s 68719476736 2>/dev/null || exit 77; } && ");
      delete_outputs();
      return r;
    };
    const Result one = ask("1"), two = ask("2");
    if (one.code == 77) return;  // the limit cannot be raised here
    EXPECT_NE(one.code, 4) << table.command << ": " << one.err;
    EXPECT_EQ(two.code, 4) << table.command << ": " << two.err;
  }
  static std::string line_of(const CommandEffects& table, const Options& more) {
    Options options = table.base;
    for (const auto& [name, value] : more) options[name] = value;
    std::string line = table.command + " " + table.words;
    for (const auto& [name, value] : options)
      if (!value.empty()) line += " --" + name + " " + value;
    return line;
  }
  void delete_outputs() const {
    for (const fs::path& file : list())
      if (!inputs_.contains(file)) fs::remove_all(file);
  }
  std::set<fs::path> list() const {
    std::set<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) files.insert(entry.path());
    return files;
  }
  // What a run shows, but for times, memory and the lists of all options. Its files are deleted.
  const std::string& seen(const CommandEffects& table, const Options& more, Seen kind) {
    const std::string line = line_of(table, more);
    const auto [known, is_new] = seen_.try_emplace(line + std::to_string(int(kind)));
    if (!is_new) return known->second;
    const Result r = run(line);
    std::string &text = known->second, step;
    text = "exit " + std::to_string(r.code) + "\n" + without_times(r.out);
    if (kind == Seen::on_stderr || r.code != 0) text += "stderr: " + without_times(r.err);
    for (const fs::path& file : list()) {
      const std::string name = file.filename().string();
      if (inputs_.contains(file) || name == "training_options.json" || name.ends_with(".npy.json")) continue;
      text += "file " +
              fs::relative(name.starts_with("events.out") ? file.parent_path() : file, folder_.path()).string() + "\n";
      if (!fs::is_regular_file(file)) continue;
      text += content(file) + "\n";
      if (kind == Seen::in_memory && name == "log.jsonl")
        for (std::istringstream log(read_text(file)); std::getline(log, step);)
          text += Json::parse(step).at("peak_bytes").dump() + "\n";
    }
    delete_outputs();
    return text;
  }
  static std::string content(const fs::path& file) {
    if (file.filename() == "trainer_state.json") return read_json(file).at("log_history").dump();
    if (file.filename().string().starts_with("events.out")) return "";  // times all over
    if (file.extension() == ".json") {
      Json json = read_json(file);
      if (json.is_object()) json.erase("options"), json.erase("evaluation");  // which names them all
      return without_times(json.dump());
    }
    return without_times(read_text(file));
  }
  static std::string without_times(const std::string& text) {
    static const std::regex numbers(
        R"re(("([a-z_]*seconds|pairs_per_second|peak_bytes)": ?)[-0-9.e+]+| *[0-9.:]+ (m?s|pairs/s|GFLOP/s|GB/s|GB)\b|"report_generated_date": ?"[^"]*")re");
    return text.size() > 100'000 ? text : std::regex_replace(text, numbers, "$1");
  }
  static bool test_exists(const std::string& name) {
    static const std::string sources = [] {
      std::string text;
      for (const auto& entry : fs::directory_iterator(fs::path(SOURCE_DIR) / "tests"))
        if (entry.path().extension() == ".cpp") text += read_text(entry.path());
      return text;
    }();
    const size_t dot = name.find('.');
    return has(sources, "(" + name.substr(0, dot) + ", " + name.substr(dot + 1) + ") {");
  }
  std::set<fs::path> inputs_;
  std::map<std::string, std::string> seen_;  // by command line
};

}  // namespace vlm2vec
