#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mini/build.h"

namespace vlm2vec {

Exit run_data_mini(const Command& command, const Arguments& arguments) {
  mini::MiniOptions options;
  std::string output_dir;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "data mini --output_dir runs/demo/data");
  line("output_dir", output_dir, "<DIR> folder to write; replaces another miniature MMEB there, keeps an equal one");
  line("train_rows", options.train_rows, "rows of each training set");
  line("test_rows", options.test_rows, "rows of each test set");
  line("seed", options.seed, "random seed of the training rows and their pixels; test rows never change");
  line.require({"output_dir"});
  line.threads().quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  options.output_dir = output_dir;
  const mini::MiniSummary summary = mini::build_mini(options);
  if (!quiet) std::cerr << mini::describe(summary);
  if (json) {
    nlohmann::ordered_json result = {{"output_dir", output_dir}, {"sets", nlohmann::ordered_json::array()}};
    for (const auto& set : summary.sets)
      result["sets"].push_back({{"name", set.task.name}, {"train_rows", set.train_rows}, {"test_rows", set.test_rows}});
    for (const auto& [name, reason] : summary.skipped) result["skipped"][name] = reason;
    result["sha256"] = summary.sha256;
    result["seconds"] = summary.seconds;
    std::cout << result.dump() << '\n';
  }
  return Exit::ok;
}

}  // namespace vlm2vec
