#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/official_options.h"
#include "mmeb/evaluator.h"

namespace vlm2vec {

Exit run_eval(const Command& command, const Arguments& arguments) {
  namespace fs = std::filesystem;
  EvalOptions options;
  std::vector<std::string> beside;
  Device device;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose,
                   "eval --model_name runs/demo/model --dataset_name runs/demo/data/MMEB-eval --encode_output_path "
                   "runs/demo/trained");
  options.fields(line);
  line("beside", beside, "folders of earlier evaluations, shown in the table as further columns");
  line.require({"model_name", "dataset_name", "encode_output_path"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  official_options(line, options);
  if (!line.parse(arguments)) return Exit::ok;

  const auto title = [](const fs::path& folder) { return (folder / "").parent_path().filename().string(); };
  std::vector<std::pair<std::string, Summary>> columns;
  if (!beside.empty()) {
    const std::vector<Task> tasks = read_tasks(options.dataset_name);
    for (const std::string& folder : beside) columns.emplace_back(title(folder), read_summary(folder, tasks));
  }
  const Summary summary = evaluate(options, device, quiet);
  const std::vector<Task> tasks = read_tasks(options.dataset_name);
  columns.emplace_back(title(options.encode_output_path), summary);
  columns.insert(columns.begin(), {"chance", chance_summary(summary, tasks)});
  if (json) std::cout << nlohmann::ordered_json::parse(summary_json(summary)) << '\n';
  else if (!quiet) std::cout << score_table(columns, tasks);
  return Exit::ok;
}

}  // namespace vlm2vec
