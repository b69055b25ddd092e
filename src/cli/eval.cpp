#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/official_options.h"
#include "mmeb/data/outputs.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/evaluation/retrieval.h"
#include "mmeb/evaluation/score_table.h"

namespace vlm2vec {
namespace {

void check_options(const EvalOptions& o, const std::vector<std::string>& beside) {
  const auto usage = [](bool ok, const auto&... parts) {
    if (!ok) fail(Exit::usage, "eval: ", parts...);
  };
  usage(o.per_device_eval_batch_size > 0, "--per_device_eval_batch_size must be positive");
  usage(!o.dataset_name.empty() + !o.dataset_config.empty() + !o.retrieval_file.empty() == 1,
        "exactly one of --dataset_name, --dataset_config and --retrieval_file is needed");
  usage(o.retrieval_file.empty() || (beside.empty() && o.num_candidates == 0 && o.prompt_variants.empty()),
        "--beside, --num_candidates and --prompt_variants are for the sets of MMEB, not for --retrieval_file");
  style_named(all_prompt_styles(), o.prompt);  // for its error, before the model is loaded
  usage(o.prompt.empty() || o.prompt_variants.empty(),
        "--prompt builds the prompts anew, and --prompt_variants changes the stored ones; give one of them");
  usage(o.retrieval_file.empty() || (o.bad_rows == "error" && !o.overwrite),
        "--bad_rows and --overwrite are for the sets of MMEB; --retrieval_file replaces its scores when complete");
  usage(!o.dataset_name.empty() || o.subset_name.empty(), "--subset_name picks sets of --dataset_name");
  usage(o.dataset_config.empty() || o.image_dir.empty(), "--image_dir is given in each entry of --dataset_config");
  usage(!o.dataset_config.empty() || o.data_basedir.empty(), "--data_basedir has no effect without --dataset_config");
  usage(o.missing_sets == "error" || o.missing_sets == "skip", "--missing_sets: got \"", o.missing_sets,
        "\", expected error or skip");
  usage(o.missing_sets == "error" || !o.dataset_config.empty() || !o.subset_name.empty(),
        "--missing_sets has no effect without --dataset_config or --subset_name, which name the sets");
  usage(o.num_candidates == 0 || o.num_candidates > 1, "--num_candidates: got ", o.num_candidates,
        ", expected 2 or more: the right one and another");
  check_output_folder("eval: --encode_output_path", o.encode_output_path,
                      {{"the folder of the model itself", o.model_name},
                       {"the --adapter", o.adapter},
                       {"the folder of the data", o.dataset_name},
                       {"the --image_dir", o.image_dir},
                       {"the --embedding_cache", o.embedding_cache}});
}

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
  line("beside", beside, "<DIR> folders of earlier evaluations, shown as further columns of the table");
  line.require({"model_name", "encode_output_path"});
  line.collect({"beside"});
  line.threads().device(device).quiet(quiet).json(json);
  official_options(line, options);
  if (!line.parse(arguments)) return Exit::ok;

  check_options(options, beside);
  if (!options.retrieval_file.empty()) return run_retrieval(options, device, quiet, json);
  const auto title = [](const fs::path& folder) { return (folder / "").parent_path().filename().string(); };
  std::vector<std::pair<std::string, Summary>> columns;
  for (const std::string& folder : beside) columns.emplace_back(title(folder), read_summary(folder));
  const Summary summary = evaluate(options, device, quiet);
  columns.emplace_back(title(options.encode_output_path), summary);
  columns.insert(columns.begin(), {"chance", chance_summary(summary)});
  if (json) std::cout << nlohmann::ordered_json::parse(summary_json(summary)) << '\n';
  else if (!quiet)
    std::cout << score_table(columns) << variants_table(summary)
              << (options.num_candidates > 0 ? published_candidates_table(summary)
                                             : published_table(summary, columns.back().first));
  return Exit::ok;
}

}  // namespace vlm2vec
