// The options of one command: declared by naming variables, whose values are the defaults; read with CLI11.
//   --max_steps 10, --max_steps=10, --max-steps 10; --lora, --lora True, --lora=false; --subset_name A B or A,B
// The last of two equal options counts, as with argparse: a script's "$@" overrides what it says.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tensor/storage.h"

namespace vlm2vec {

using Arguments = std::vector<std::string>;
std::string lower_case(std::string text);  // ASCII

class CommandLine {
 public:
  // `example`: what follows the program's name on a line that works.
  CommandLine(std::string command, std::string purpose, std::string example);

  // An option that sets `value`, a bool, int, int64_t, uint64_t, double, string or list of strings. Fits the visit of
  // TrainOptions::fields: options.fields(line). Help may begin with what stands for the value: "<DIR> folder to write",
  // "<f32|bf16> …". Bash completion offers what it says; DIR, FILE and PATH (a folder or an archive) may not be empty.
  template <class T>
  void operator()(const std::string& name, T& value, const std::string& help);
  void section(const std::string& title);               // heads the options that follow, in --help
  void require(const std::vector<std::string>& names);  // these options must be given
  void collect(const std::vector<std::string>& names);  // given again, these lists grow
  // Words that belong to no option, at least one; `name` and `help` are for --help.
  void words(const std::string& name, std::vector<std::string>& values, const std::string& help);

  // Options of other programs, so that their command lines work. They take any number of values and set nothing;
  // "--help all" names them in one paragraph. judge(value) throws for a value that would change the result. The values
  // are as written; "true" where there is none.
  void judged(const std::string& name, std::function<void(const std::string& value)> judge);
  void no_meaning(const std::string& name, const std::string& reason);  // said in one line on stderr, unless quiet
  // Another name of `option`. With `values`, another spelling of its values too: "--bf16 True" is "--precision bf16".
  void alias(const std::string& name, const std::string& option, std::map<std::string, std::string> values = {});
  void say(const std::string& line) const;  // on stderr, unless quiet or empty: to be called after parse

  // The options that commands share, each for the commands on which it has an effect.
  void threads();
  void device(Device& device);
  void quiet(bool& quiet);
  void json(bool& json);

  // Sets the variables and the number of threads. False if --help was asked for and has been printed. Errors
  // (Exit::usage) say what came and what was expected, and which option an unknown one may stand for.
  bool parse(const Arguments& arguments);

 private:
  static constexpr const char* kOneSection = "Options";  // of a command that begins none
  struct Option {
    std::string name, kind, help, standard;  // standard: the default as text
    int least, most;                         // values, -1: any number
    std::function<void(const std::vector<std::string>& values)> assign;
    bool required = false, foreign = false, collects = false;
    std::string section = {};  // its title in --help
  };
  struct Alias {
    std::string option;
    std::map<std::string, std::string> values;
  };
  void declare(Option option);  // in the section that has begun
  void begin_last_section();    // what commands share
  const Option* find(const std::string& name) const;
  std::string spelling_of(const std::string& argument) const;
  Arguments normalise(const Arguments& arguments) const;
  Arguments resolve_aliases(const Arguments& arguments) const;
  Arguments without_overridden(const Arguments& arguments) const;
  [[noreturn]] void refuse(const std::string& word) const;
  std::string foreign_names() const;
  std::string help_page(bool with_foreign) const;  // help_page.cpp

  std::string command_, purpose_, example_, section_ = kOneSection;
  std::vector<Option> options_;
  std::map<std::string, Alias> aliases_;
  std::vector<std::string> notes_;  // to be said when everything is parsed
  const bool* quiet_ = nullptr;
  std::string words_name_, words_help_;
  std::vector<std::string>* words_ = nullptr;
};

}  // namespace vlm2vec
