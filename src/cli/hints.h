// Guesses the meaning of an unknown option or command.
#pragma once
#include <string>
#include <vector>

namespace vlm2vec {

// Returns the option of `known` (without dashes) that is probably meant, by a table of other programs' names or by
// likeness; empty if none is near.
std::string likely_option(const std::string& unknown, const std::vector<std::string>& known);
// Advises what to do instead of an option that `command` lacks and has no counterpart of; empty without advice.
std::string advice(const std::string& command, const std::string& unknown);
std::string likely_command(const std::string& unknown, const std::vector<std::string>& known);

}  // namespace vlm2vec
