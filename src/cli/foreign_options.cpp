// Options of other programs on our command lines: other names, accepted values, and options without meaning here.
#include <iostream>

#include "cli/command_line.h"
#include "io/error.h"

namespace vlm2vec {

void CommandLine::judged(const std::string& name, std::function<void(const std::string&)> judge) {
  const auto assign = [judge](const std::vector<std::string>& values) {
    for (const std::string& value : values) judge(value.empty() ? "true" : value);
  };
  options_.push_back({name, "", "", "", 0, -1, assign, false, true});
}

void CommandLine::no_meaning(const std::string& name, const std::string& reason) {
  const auto assign = [this, name, reason](const std::vector<std::string>&) {
    notes_.push_back(sentence(command_, ": --", name, " has no meaning here: ", reason));
  };
  options_.push_back({name, "", "", "", 0, -1, assign, false, true});
}

void CommandLine::alias(const std::string& name, const std::string& option, std::map<std::string, std::string> values) {
  aliases_[name] = {option, std::move(values)};
}

void CommandLine::say(const std::string& line) const {
  if (!line.empty() && (!quiet_ || !*quiet_)) std::cerr << line << '\n';
}

Arguments CommandLine::resolve_aliases(const Arguments& arguments) const {
  Arguments result;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto alias = arguments[i].starts_with("--") ? aliases_.find(arguments[i].substr(2)) : aliases_.end();
    if (alias == aliases_.end()) {
      result.push_back(arguments[i]);
      continue;
    }
    const auto& [option, values] = alias->second;
    result.push_back("--" + option);
    if (values.empty()) continue;
    const bool given = i + 1 < arguments.size() && !arguments[i + 1].starts_with("--");
    const std::string value = given ? arguments[++i] : "true";
    const auto ours = values.find(lower_case(value));
    if (ours == values.end())
      fail(Exit::usage, command_, ": --", alias->first, ": got \"", value, "\", expected True or False");
    result.push_back(ours->second);
  }
  return result;
}

}  // namespace vlm2vec
