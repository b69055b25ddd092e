// The options of one command. Each is declared with a variable, whose value is the default; CLI11 parses them.
//   --max_steps 10, --max_steps=10, --max-steps 10; --lora, --lora True, --lora=false; --subset_name A B or A,B
// The last of equal options counts, as in argparse: a script's "$@" overrides its own options.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/gpu.h"
#include "tensor/storage.h"

namespace vlm2vec {

using Arguments = std::vector<std::string>;
std::string lower_case(std::string text);  // ASCII

class CommandLine {
 public:
  // `example`: a working command line without the program's name.
  CommandLine(std::string command, std::string purpose, std::string example);

  // Declares an option that sets `value`: a bool, MaskChoice, number, string or list of strings. Serves as the visitor
  // of TrainOptions::fields: options.fields(line). Help may begin with the kind of value, which completion offers:
  // "<DIR> folder to write", "<f32|bf16> …". DIR, FILE and PATH (a folder or an archive) must not be empty.
  template <class T>
  void operator()(const std::string& name, T& value, const std::string& help);
  void section(const std::string& title);               // begins a group of options in --help
  void require(const std::vector<std::string>& names);  // these options must be given
  void collect(const std::vector<std::string>& names);  // repeating one of these options extends its list
  // Declares words outside options, at least one; `name` and `help` are for --help.
  void words(const std::string& name, std::vector<std::string>& values, const std::string& help);

  // Declare options of other programs, so that their command lines work. They take any number of values and set
  // nothing; "--help all" lists them. judge(value) must throw for a value that would change the result. It gets values
  // as written, or "true" if there is none.
  void judged(const std::string& name, std::function<void(const std::string& value)> judge);
  void no_meaning(const std::string& name, const std::string& reason);  // adds one line on stderr, unless quiet
  // Declares another name of `option`; `values` translates its values: "--bf16 True" is "--precision bf16".
  void alias(const std::string& name, const std::string& option, std::map<std::string, std::string> values = {});
  void say(const std::string& line) const;  // prints to stderr, unless quiet or empty; must be called after parse

  // Options shared by commands; each belongs only to commands that it affects.
  CommandLine& threads();
  CommandLine& device(Device& device);
  bool device_given() const { return device_given_; }
  CommandLine& quiet(bool& quiet);
  CommandLine& json(bool& json);

  // Sets the variables and the number of threads. Returns false after printing --help. Throws Exit::usage with the
  // value given and the value expected, or with the nearest option for an unknown one.
  bool parse(const Arguments& arguments);

 private:
  static constexpr const char* kOneSection = "Options";  // title if a command begins no section
  struct Option {
    std::string name, kind, help, standard;  // standard: the default as text; empty: not set
    int least, most;                         // number of values; -1: any number
    std::function<void(const std::vector<std::string>& values)> assign;
    bool required = false, foreign = false, collects = false;
    bool always = false;  // assign() is called without values, too, to find the default
    std::string section = {};  // title of its section in --help
  };
  struct Alias {
    std::string option;
    std::map<std::string, std::string> values;
  };
  void declare(Option option);  // adds it to the present section
  void begin_last_section();    // begins the section of shared options
  void choose_device();
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
  std::vector<std::string> notes_;  // printed after parsing
  const bool* quiet_ = nullptr;
  bool device_given_ = false;
  std::string device_name_, product_given_;  // --device; the last of --cublas and --tf32, empty: neither
  gpu::Products products_;
  Device* device_ = nullptr;
  std::string words_name_, words_help_;
  std::vector<std::string>* words_ = nullptr;
};

}  // namespace vlm2vec
