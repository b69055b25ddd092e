// The name of an option's value in --help. Options with the same name take the same kind of value in all commands.
#pragma once
#include <string>

namespace vlm2vec {

// Returns it for options whose values are words: DIR, FILE, or choices such as "f32|bf16". Bash completion uses it.
std::string metavariable(const std::string& command, const std::string& option);

}  // namespace vlm2vec
