#include "mmeb/evaluation/leaderboard.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"

namespace vlm2vec {

Exit run_leaderboard(const Command& command, const Arguments& arguments) {
  LeaderboardEntry entry;
  std::vector<std::string> folders;
  std::string output;
  bool quiet = false, json = false;
  CommandLine line(
      command.name, command.purpose,
      "leaderboard runs/scores --output VLM2Vec-2B.json --model_name VLM2Vec-2B --embedding_dimension 1536");
  line.words("FOLDER", folders, "one folder of eval (--encode_output_path)");
  line("output", output, "<FILE> the file to write");
  entry.fields(line);
  line.require({"output", "model_name"});
  line.quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (folders.size() != 1) fail(Exit::usage, "leaderboard: got ", folders.size(), " folders, expected one");
  if (entry.embedding_dimension < 0 || entry.max_length_tokens < 0)
    fail(Exit::usage, "leaderboard: --embedding_dimension and --max_length_tokens cannot be negative");
  check_output_file(output, {"a submission", "{\n    \"metadata\": "});
  const nlohmann::ordered_json report = leaderboard_json(folders[0], entry);
  write_text(output, report.dump(4) + "\n");
  nlohmann::ordered_json counts;
  for (const auto& [group, sets] : report["metrics"].items()) {
    size_t scored = 0;
    for (const auto& [name, scores] : sets.items()) scored += scores.is_object();
    counts[group] = {{"scored", scored}, {"sets", sets.size()}};
  }
  if (json) std::cout << counts << '\n';
  else if (!quiet)
    for (const auto& [group, count] : counts.items())
      std::cerr << group << ": " << count["scored"] << " of " << count["sets"] << " sets have scores\n";
  return Exit::ok;
}

}  // namespace vlm2vec
