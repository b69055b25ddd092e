#include "cli/commands.h"

#include <iomanip>
#include <iostream>
#include <sstream>

#include "cli/hints.h"
#include "io/shell_word.h"

namespace vlm2vec {
namespace {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"data mini", "Build the miniature MMEB, training and test sets, from pictures of Debian packages.",
       run_data_mini},
      {"data cat", "Print the rows of a Parquet or JSON-lines file as JSON lines.", run_data_cat},
      {"data check", "Find missing or faulty rows, pictures and image tokens in data sets.", run_data_check},
      {"data stats", "Count rows, pictures, lengths and equal targets of data sets.", run_data_stats},
      {"data preview", "Write rows with their pictures as one HTML page.", run_data_preview},
      {"data leaks", "Find texts, pairs and equal or similar pictures that two data sets share.", run_data_leaks},
      {"init", "Write a checkpoint with random weights, to train from scratch.", run_init},
      {"train", "Train a vision-language model into an embedder (VLM2Vec: InfoNCE with GradCache).", run_train},
      {"eval", "Rank every query's candidates and report Precision@1 as the paper does.", run_eval},
      {"leaderboard", "Write the file for MMEB's leaderboard from the scores of eval.", run_leaderboard},
      {"compare", "Compare two evaluations set by set, with tests of significance.", run_compare},
      {"report", "Write a run's curves, scores and examples as one HTML page.", run_report},
      {"embed", "Turn lines of text and pictures into unit vectors.", run_embed},
      {"search", "Find the rows nearest to a query among vectors of embed (exact search).", run_search},
      {"explain", "Show every stage of a model for one input, and the parts that make its score.", run_explain},
      {"parity", "Compare every stage with a reference implementation and write a certificate.", run_parity},
      {"merge", "Write a checkpoint with an adapter merged into its weights.", run_merge},
      {"tokenize", "Show the token ids of a text, or of every line of a file.", run_tokenize},
      {"image", "Decode and resize pictures to the bytes that a model sees.", run_image},
      {"selftest", "Check gradients, GradCache, the loss and batch-invariance on this machine, in seconds.",
       run_selftest},
      {"doctor", "Measure this machine in seconds and show what the program can use.", run_doctor},
      {"bench", "Measure products, attention, embedding or a training step, and their share of this machine's peak.",
       run_bench},
      {"completion", "Print a shell script that completes commands, options and files.", run_completion},
      {"version", "Print version, build and libraries.", run_version},
  };
  return list;
}

// Lists the commands whose names begin with `group`.
std::string usage(const std::string& group = "") {
  std::ostringstream text;
  text << "Usage: " << command_line(group) << "COMMAND [OPTIONS]\n\nCommands:\n" << std::left;
  for (const Command& command : commands())
    if (command.name.starts_with(group)) text << "  " << std::setw(14) << command.name << command.purpose << '\n';
  text << '\n' << command_line(group) << "COMMAND --help shows a command's options and an example.";
  if (group.empty())
    text << "\n\nExit codes:\n  0  ok\n  1  a check or a run failed\n  2  wrong usage\n  3  bad input data\n"
         << "  4  out of memory or disk\n  5  no such device\n129  ended by SIGHUP, 130 by Ctrl-C, 143 by SIGTERM";
  return text.str();
}

constexpr const char* kData = "data ";  // commands of two words

}  // namespace

Exit run_command(const Arguments& words) {
  if (words.empty()) fail(Exit::usage, "no command was given\n\n", usage());
  if (words[0] == "--version") return run_command({"version"});
  if (words[0] == "help" && words.size() > 1) {
    Arguments asked(words.begin() + 1, words.end());
    asked.push_back("--help");
    return run_command(asked);
  }
  const std::string one = words[0], two = words.size() > 1 ? one + " " + words[1] : one;
  const std::string group = one == "data" ? kData : "";
  if (one == "data" && words.size() == 1) fail(Exit::usage, "data: expected one of its commands\n\n", usage(group));
  const std::string& asked = group.empty() ? one : words[1];
  if (asked == "--help" || asked == "-h" || asked == "help") {
    std::cout << usage(group) << '\n';
    return Exit::ok;
  }
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    const bool of_two_words = command.name.find(' ') != std::string::npos;
    if (command.name == (of_two_words ? two : one))
      return command.run(command, Arguments(words.begin() + 1 + of_two_words, words.end()));
    names.push_back(command.name);
  }
  const std::string& unknown = group.empty() ? one : two;
  const std::string meant = likely_command(unknown, names);
  fail(Exit::usage, "there is no command \"", unknown, meant.empty() ? "\"" : "\"; the nearest is \"" + meant + "\"",
       "; see ", command_line(group), "--help");
}

}  // namespace vlm2vec
