// What stands for an option's value in --help: an option of one name takes one kind of value in all commands.
#pragma once
#include <string>

namespace vlm2vec {

// Of options whose values are words: DIR, FILE, the choices as in "f32|bf16" … Bash completion offers what they say.
std::string metavariable(const std::string& command, const std::string& option);

}  // namespace vlm2vec
