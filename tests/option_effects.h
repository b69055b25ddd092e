// "No option without effect" as a fixture: a command is run without and with an option, and something must differ that
// a user sees: the exit code, what is printed, or a written file.
#pragma once
#include <functional>
#include <map>
#include <regex>
#include <set>

#include "cli_fixture.h"
#include "no_threads.h"

namespace vlm2vec {

using Options = std::map<std::string, std::string>;  // "" takes an option of the base away

enum class Seen {
  output,
  on_stderr,
  in_memory
};  // printed or written; by messages, too; by log.jsonl's peak_bytes, too

struct Effect {
  std::string option, value;
  Options also = {};  // given in both runs
  int code = 0;       // of the run with the option
  Seen seen = Seen::output;
  std::string before = {};  // what the shell does before each of both
  std::function<void()> proof =
      {};  // in place of two runs: expects the difference, where one run of the command is dear
};
struct CommandEffects {
  std::string command, words;
  Options base;
  std::vector<Effect> effects;
};

class OptionEffects : public Cli {
 protected:
  OptionEffects() { hides_gpu_ = true; }
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
      if (effect.proof) {
        effect.proof();
        continue;
      }
      const std::string without = seen(table, effect.also, effect.seen, effect.before);
      Options with = effect.also;
      with[effect.option] = effect.value;
      const std::string seen_with = seen(table, with, effect.seen, effect.before);
      EXPECT_TRUE(without != seen_with) << table.command << " --" << effect.option << " changes nothing";
      EXPECT_TRUE(seen_with.starts_with("exit " + std::to_string(effect.code) + "\n"))
          << table.command << " --" << effect.option << ": " << seen_with.substr(0, 300);
    }
  }
  void keep_files() {  // what is there now is input
    inputs_ = list();
  }

 private:
  // Where the system refuses a second thread.
  void check_threads(const CommandEffects& table) const {
    const auto ask = [&](const char* threads) {
      const Result r = without_threads([&] { return run(line_of(table, {{"threads", threads}})); });
      delete_outputs();
      return r;
    };
    const Result one = ask("1"), two = ask("2");
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
  const std::string& seen(const CommandEffects& table, const Options& more, Seen kind, const std::string& before = "") {
    const std::string line = line_of(table, more);
    const auto [known, is_new] = seen_.try_emplace(before + line + std::to_string(int(kind)));
    if (!is_new) return known->second;
    const Result r = run(line, before);
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
        R"re(("([a-z_]*seconds|pairs_per_second|peak_bytes)": ?)[-0-9.e+]+)re"
        R"re(| *[0-9.:]+ (m?s|pairs/s|GFLOP/s|GB/s|GB)\b|"report_generated_date": ?"[^"]*")re");
    return text.size() > 100'000 ? text : std::regex_replace(text, numbers, "$1");
  }
  std::set<fs::path> inputs_;
  std::map<std::string, std::string> seen_;  // by command line
};

}  // namespace vlm2vec
