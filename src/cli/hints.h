// The likely meaning of an option or a command that does not exist.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// The one of `known` (without dashes) that is meant, by a table of other programs' names and then by likeness; empty
// if nothing is near.
std::string likely_option(const std::string& unknown, const std::vector<std::string>& known);
// What to do in place of an option that `command` does not have, where no option of its own is meant; empty: unknown.
std::string advice(const std::string& command, const std::string& unknown);
std::string likely_command(const std::string& unknown, const std::vector<std::string>& known);

}  // namespace vlm2vec
