#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/official_options.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/evaluation/retrieval.h"

namespace vlm2vec {
namespace {

Exit run_retrieval(const EvalOptions& options, Device device, bool quiet, bool json) {
  const std::vector<RecallScore> scores = evaluate_retrieval(options, device, quiet);
  nlohmann::ordered_json result;
  for (const RecallScore& s : scores)
    result[s.name] = {{"recall@1", s.recall[0]}, {"recall@5", s.recall[1]}, {"recall@10", s.recall[2]}};
  if (json) std::cout << result << '\n';
  else if (!quiet) std::cout << recall_table(scores);
  return Exit::ok;
}

}  // namespace

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
  line.require({"model_name", "encode_output_path"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  official_options(line, options);
  if (!line.parse(arguments)) return Exit::ok;

  if (options.per_device_eval_batch_size < 1) fail(Exit::usage, "eval: --per_device_eval_batch_size must be positive");
  if (options.dataset_name.empty() == options.retrieval_file.empty())
    fail(Exit::usage, "eval: give either --dataset_name or --retrieval_file");
  if (!options.retrieval_file.empty() && (!beside.empty() || !options.subset_name.empty()))
    fail(Exit::usage, "eval: --beside and --subset_name are for the sets of --dataset_name");
  if (!options.retrieval_file.empty()) return run_retrieval(options, device, quiet, json);
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
  else if (!quiet) std::cout << score_table(columns, tasks) << published_table(summary, columns.back().first);
  return Exit::ok;
}

}  // namespace vlm2vec
