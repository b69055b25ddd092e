// The commands of the program. Each has its own file in this folder; commands.cpp lists them.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/command_line.h"
#include "io/error.h"

namespace vlm2vec {

struct Command {
  std::string name, purpose;  // purpose: one line
  Exit (*run)(const Command& command, const Arguments& arguments);
};

Exit run_bench(const Command& command, const Arguments& arguments);
Exit run_compare(const Command& command, const Arguments& arguments);
Exit run_completion(const Command& command, const Arguments& arguments);
Exit run_data_cat(const Command& command, const Arguments& arguments);
Exit run_data_check(const Command& command, const Arguments& arguments);
Exit run_data_leaks(const Command& command, const Arguments& arguments);
Exit run_data_mini(const Command& command, const Arguments& arguments);
Exit run_data_preview(const Command& command, const Arguments& arguments);
Exit run_data_stats(const Command& command, const Arguments& arguments);
Exit run_doctor(const Command& command, const Arguments& arguments);
Exit run_init(const Command& command, const Arguments& arguments);
Exit run_train(const Command& command, const Arguments& arguments);
Exit run_eval(const Command& command, const Arguments& arguments);
Exit run_leaderboard(const Command& command, const Arguments& arguments);
Exit run_embed(const Command& command, const Arguments& arguments);
Exit run_explain(const Command& command, const Arguments& arguments);
Exit run_parity(const Command& command, const Arguments& arguments);
Exit run_merge(const Command& command, const Arguments& arguments);
Exit run_image(const Command& command, const Arguments& arguments);
Exit run_tokenize(const Command& command, const Arguments& arguments);
Exit run_report(const Command& command, const Arguments& arguments);
Exit run_search(const Command& command, const Arguments& arguments);
Exit run_selftest(const Command& command, const Arguments& arguments);
Exit run_version(const Command& command, const Arguments& arguments);

nlohmann::ordered_json version_json();  // what `version --json` prints

// Runs the command named by the first words, with the rest as arguments. Throws Exit::usage for an unknown command.
Exit run_command(const Arguments& words);

}  // namespace vlm2vec
