#include "cli/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>  // App has one
#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <type_traits>

#include "cli/hints.h"
#include "io/error.h"
#include "io/shell_word.h"
#include "io/text.h"
#include "kernels/gpu.h"
#include "tensor/parallel.h"
#include "vlm/model_options.h"

namespace vlm2vec {
namespace {

// CLI11's value for a flag without a value.
const std::string kNoValue = "";

template <class T>
constexpr bool is_list = std::is_same_v<T, std::vector<std::string>>;
template <class T>
constexpr bool is_flag = std::is_same_v<T, bool> || std::is_same_v<T, MaskChoice>;

// What stands for a value of this type in --help, unless the option's list says it.
template <class T>
std::string kind_of() {
  return is_flag<T>                    ? "[True|False]"
         : std::is_integral_v<T>       ? "N"
         : std::is_floating_point_v<T> ? "X"
                                       : "TEXT";
}

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_same_v<T, MaskChoice>) {
    return value.official ? text_of(*value.official) : "";
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "True" : "False";
  } else if constexpr (std::is_arithmetic_v<T>) {
    char text[32];
    return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
  } else if constexpr (is_list<T>) {
    return joined(value, " ");
  } else {
    return value;
  }
}

bool parse_bool(const std::string& text, const std::string& option) {
  const std::string lower = lower_case(text);
  if (lower == "true" || lower == "1" || lower == "yes" || lower == kNoValue) return true;
  if (lower == "false" || lower == "0" || lower == "no") return false;
  fail(Exit::usage, option, ": got \"", text, "\", expected True or False");
}

template <class T>
T parse_number(const std::string& text, const std::string& option) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool good = error == std::errc() && end == text.data() + text.size();
  if constexpr (std::is_floating_point_v<T>) good = good && std::isfinite(value);
  const char* expected = std::is_floating_point_v<T> ? "a number"
                         : std::is_signed_v<T>       ? "a whole number"
                                                     : "a whole number, not negative";
  if (!good) fail(Exit::usage, option, ": got \"", text, "\", expected ", expected);
  return value;
}

template <class T>
T parse_values(const std::vector<std::string>& values, const std::string& option) {
  if constexpr (is_list<T>) {
    T items;
    for (const std::string& value : values)
      for (size_t begin = 0; begin <= value.size();) {
        const bool is_picture = value.starts_with("data:");  // data:image/png;base64,…
        const size_t end = is_picture ? value.size() : std::min(value.find(',', begin), value.size());
        if (end > begin) items.push_back(value.substr(begin, end - begin));
        begin = end + 1;
      }
    return items;
  } else {
    CHECK(values.size() == 1, option, ": ", values.size(), " values, expected one");
    if constexpr (is_flag<T>) return T{parse_bool(values[0], option)};
    else if constexpr (std::is_arithmetic_v<T>) return parse_number<T>(values[0], option);
    else return values[0];
  }
}

}  // namespace

std::string lower_case(std::string text) {
  for (char& c : text) c = char(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

CommandLine::CommandLine(std::string command, std::string purpose, std::string example)
    : command_(std::move(command)), purpose_(std::move(purpose)), example_(std::move(example)) {}

template <class T>
void CommandLine::operator()(const std::string& name, T& value, const std::string& help) {
  const size_t end = help.starts_with('<') ? help.find("> ") : std::string::npos;
  const std::string kind = end == std::string::npos ? kind_of<T>() : help.substr(1, end - 1);
  const bool place = kind == "DIR" || kind == "FILE" || kind == "PATH";
  const auto assign = [&value, place, option = command_ + ": --" + name](const std::vector<std::string>& values) {
    if (place && std::find(values.begin(), values.end(), "") != values.end())
      fail(Exit::usage, option, " is empty, expected a path; a shell variable may be unset");
    value = parse_values<T>(values, option);
  };
  declare({name, kind + (is_list<T> ? "..." : ""), end == std::string::npos ? help : help.substr(end + 2),
           text_of(value), is_flag<T> ? 0 : 1, is_list<T> ? -1 : 1, assign});
}
template void CommandLine::operator()(const std::string&, bool&, const std::string&);
template void CommandLine::operator()(const std::string&, MaskChoice&, const std::string&);
template void CommandLine::operator()(const std::string&, int&, const std::string&);
template void CommandLine::operator()(const std::string&, int64_t&, const std::string&);
template void CommandLine::operator()(const std::string&, uint64_t&, const std::string&);
template void CommandLine::operator()(const std::string&, double&, const std::string&);
template void CommandLine::operator()(const std::string&, std::string&, const std::string&);
template void CommandLine::operator()(const std::string&, std::vector<std::string>&, const std::string&);

void CommandLine::declare(Option option) {
  option.section = section_;
  options_.push_back(std::move(option));
}

void CommandLine::section(const std::string& title) { section_ = title; }

void CommandLine::begin_last_section() {
  if (section_ != kOneSection) section("This run");
}

void CommandLine::require(const std::vector<std::string>& names) {
  for (Option& option : options_)
    if (std::find(names.begin(), names.end(), option.name) != names.end()) option.required = true;
}

void CommandLine::collect(const std::vector<std::string>& names) {
  for (Option& option : options_)
    if (std::find(names.begin(), names.end(), option.name) != names.end()) option.collects = true;
}

void CommandLine::words(const std::string& name, std::vector<std::string>& values, const std::string& help) {
  words_name_ = name, words_help_ = help, words_ = &values;
}

CommandLine& CommandLine::threads() {
  const auto assign = [option = command_ + ": --threads"](const std::vector<std::string>& values) {
    const int n = parse_values<int>(values, option);
    if (n < 1 || n > 1024) fail(Exit::usage, option, ": got ", n, ", expected 1 to 1024");
    set_threads(n);
    emulator::use_os_threads(n);
  };
  begin_last_section();
  declare({"threads", "N", "number of computing threads; results do not depend on it", "one per core", 1, 1, assign});
  return *this;
}

CommandLine& CommandLine::device(Device& device) {
  const auto assign = [this](const std::vector<std::string>& values) {
    device_given_ = !values.empty();
    device_name_ = device_given_ ? parse_values<std::string>(values, command_ + ": --device") : default_device();
    check_device_name(device_name_);
  };
  declare({"device", "auto|cpu|emu|cuda",
           "auto: cuda if there is one, else cpu. emu runs the GPU kernels in an emulator on the CPU (slow)",
           default_device(), 1, 1, assign});
  options_.back().always = true;
  const auto product = [&](const std::string& name, bool gpu::Products::*field, const std::string& help) {
    const auto choose = [this, name, field](const std::vector<std::string>& values) {
      product_given_ = name;
      products_.*field = parse_values<bool>(values, command_ + ": --" + name);
    };
    declare({name, kind_of<bool>(), help, text_of(products_.*field), 0, 1, choose});
  };
  product("cublas", &gpu::Products::cublas, "cuda: products by NVIDIA's library; False: by this program's kernels");
  product("tf32", &gpu::Products::tf32, "cuda: products in f32 round their factors to 11 bits; quicker, less exact");
  device_ = &device;
  return *this;
}

// Once all options are known: of several --device the last one counts. With auto, options of cuda wait for a GPU.
void CommandLine::choose_device() {
  *device_ = parse_device(device_name_);
  if (!products_.cublas && products_.tf32)
    fail(Exit::usage, command_, ": --tf32 True has no effect with --cublas False");
  if (!product_given_.empty() && *device_ != Device::cuda && device_name_ != "auto")
    fail(Exit::usage, command_, ": --", product_given_, " has no effect with --device ", device_name_);
  gpu::use_products(products_);
  open_products(*device_, device_given_ || !product_given_.empty());
}

CommandLine& CommandLine::quiet(bool& quiet) {
  begin_last_section();
  (*this)("quiet", quiet, "print no progress and no summary");
  quiet_ = &quiet;
  return *this;
}

CommandLine& CommandLine::json(bool& json) {
  (*this)("json", json, "print the result as one line of JSON");
  return *this;
}

const CommandLine::Option* CommandLine::find(const std::string& name) const {
  for (const Option& option : options_)
    if (option.name == name) return &option;
  return nullptr;
}

// "--max-steps" → "--max_steps" if an option or alias has this name; other words stay.
std::string CommandLine::spelling_of(const std::string& argument) const {
  if (!argument.starts_with("--")) return argument;
  std::string name = argument.substr(2);
  std::replace(name.begin(), name.end(), '-', '_');
  return find(name) || aliases_.contains(name) ? "--" + name : argument;
}

// Returns official spellings, and "--name=value" as two words, so that an empty value is a value.
Arguments CommandLine::normalise(const Arguments& arguments) const {
  Arguments result;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.starts_with("--") ? argument.find('=') : std::string::npos;
    result.push_back(spelling_of(argument.substr(0, equals)));
    if (equals == std::string::npos) continue;
    result.push_back(argument.substr(equals + 1));
    const Option* flag = find(result[result.size() - 2].substr(2));
    if (flag && flag->least == 0 && result.back() == kNoValue)
      fail(Exit::usage, command_, ": ", argument, ": expected True or False after the =");
  }
  return resolve_aliases(result);
}

// Removes options that are given again later, with their values. The values must still be valid, except those of
// foreign options.
Arguments CommandLine::without_overridden(const Arguments& arguments) const {
  const auto option_at = [&](size_t i) {
    return arguments[i].starts_with("--") ? find(arguments[i].substr(2)) : nullptr;
  };
  std::map<const Option*, size_t> last;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (const Option* option = option_at(i)) last[option] = i;
  Arguments kept;
  for (size_t begin = 0, end; begin < arguments.size(); begin = end) {
    const Option* option = option_at(begin);
    const size_t most = !option ? 0 : option->most < 0 ? arguments.size() : size_t(option->most);
    for (end = begin + 1; end < arguments.size() && end - begin <= most && !arguments[end].starts_with("--");) ++end;
    const Arguments part(arguments.begin() + std::ptrdiff_t(begin), arguments.begin() + std::ptrdiff_t(end));
    const bool overridden = option && !option->collects && last[option] != begin;
    if (overridden && part.size() <= size_t(option->least))
      fail(Exit::usage, command_, ": ", part[0], " has no value: the option ", arguments[end], " follows");
    if (!overridden) kept.insert(kept.end(), part.begin(), part.end());
    else if (!option->foreign)
      option->assign(part.size() > 1 ? Arguments(part.begin() + 1, part.end()) : Arguments{kNoValue});
  }
  return kept;
}

// Throws for a word that is neither an option nor an option's value.
void CommandLine::refuse(const std::string& word) const {
  const std::string help = command_line(command_) + " --help";
  if (!word.starts_with("-")) fail(Exit::usage, command_, ": \"", word, "\" belongs to no option; see ", help);
  std::vector<std::string> names;
  for (const Option& option : options_)
    if (!option.foreign) names.push_back(option.name);
  for (const auto& [name, alias] : aliases_) names.push_back(name);
  const std::string name = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  const std::string meant = likely_option(name, names), other = advice(command_, name);
  if (!other.empty()) fail(Exit::usage, command_, ": there is no option ", word, "; ", other);
  fail(Exit::usage, command_, ": there is no option ", word,
       meant.empty() ? "; see " + help : "; the nearest is --" + meant);
}

bool CommandLine::parse(const Arguments& arguments) {
  CLI::App app;
  app.allow_extras()->set_help_flag("--help,-h");
  std::vector<CLI::Option*> parsed;
  for (const Option& option : options_) {
    parsed.push_back(app.add_option("--" + option.name));
    if (option.foreign)
      parsed.back()->expected(0, CLI::detail::expected_max_vector_size)->allow_extra_args()->take_all();
    else if (option.most < 0) parsed.back()->expected(-1)->take_all();
    else parsed.back()->expected(option.least, option.most)->take_all();
  }
  Arguments reversed = without_overridden(normalise(arguments));
  std::reverse(reversed.begin(), reversed.end());
  try {
    app.parse(reversed);  // takes the last one first
  } catch (const CLI::CallForHelp&) {
    std::cout << help_page(!arguments.empty() && arguments.back() == "all");
    return false;
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string text = e.what();  // "--dump: 1 required …"
    fail(Exit::usage, command_, ": ", text.substr(0, text.find(':')), " has no value");
  } catch (const CLI::ParseError& e) {
    fail(Exit::usage, command_, ": ", e.what());
  }
  for (const std::string& extra : app.remaining()) {
    if (!words_ || extra.starts_with("-")) refuse(extra);
    words_->push_back(extra);
  }
  if (words_ && words_->empty()) fail(Exit::usage, command_, ": ", words_name_, " is missing: ", words_help_);
  for (size_t i = 0; i < options_.size(); ++i) {
    const Option& option = options_[i];
    const std::vector<std::string> values = parsed[i]->results();
    if (values.empty() && option.required)
      fail(Exit::usage, command_, ": --", option.name, " is missing: ", option.help);
    for (const std::string& value : values)
      if (value.starts_with("--") && find(spelling_of(value).substr(2)))
        fail(Exit::usage, command_, ": --", option.name, " has no value: the option ", value, " follows");
    if (!values.empty() || option.always) option.assign(values);
  }
  if (device_) choose_device();
  for (const std::string& note : notes_) say(note);
  return true;
}

}  // namespace vlm2vec
