#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/official_options.h"
#include "io/interrupt.h"
#include "io/shell_word.h"
#include "mmeb/training/trainer.h"

namespace vlm2vec {

namespace {

// Returns the command line that continues this run: the same words with --resume_from auto.
Arguments going_on(const Arguments& arguments) {
  Arguments words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i].substr(0, arguments[i].find('='));
    std::replace(name.begin(), name.end(), '-', '_');
    const bool resume = name.starts_with("__resume_from");
    if (!resume) words.push_back(arguments[i]);
    else if (name.size() == arguments[i].size()) ++i;  // its value is the next word
  }
  words.insert(words.end(), {"--resume_from", "auto"});
  return words;
}

}  // namespace

Exit run_train(const Command& command, const Arguments& arguments) {
  TrainOptions options;
  Device device;
  bool plan = false, quiet = false, json = false;
  CommandLine line(command.name, command.purpose,
                   "train --model_name runs/demo/init --dataset_name runs/demo/data/MMEB-train --output_dir runs/mine "
                   "--learning_rate 3e-3 --temperature 0.05");
  options.fields(line);
  line.section("This run");
  line("plan", plan, "only print the memory and disk space the run will take");
  line.require({"model_name", "output_dir"});
  line.threads().device(device).quiet(quiet).json(json);
  official_options(line, options);
  if (!line.parse(arguments)) return Exit::ok;
  if (options.report_to == "wandb") {
    line.say("train: --report_to wandb has no meaning here: nothing is sent over a network");
    options.report_to = "none";
  }

  if (plan) {
    const MemoryPlan memory = plan_training(options, device);
    std::cout << (json ? memory.json() + "\n" : memory.table());
    return Exit::ok;
  }
  const TrainResult result = train(options, device, quiet);
  if (json) {
    nlohmann::ordered_json fields{{"steps", result.steps},
                                  {"interrupted", result.interrupted},
                                  {"pairs_per_second", result.pairs_per_second},
                                  {"peak_bytes", result.peak_bytes},
                                  {"planned_peak_bytes", result.planned_peak_bytes},
                                  {"held_bytes", result.held_bytes},
                                  {"device", origin_of(device)},
                                  {"output_dir", options.output_dir}};
    if (device == Device::cuda) fields["card_bytes"] = result.card_bytes;
    std::cout << fields << '\n';
  }
  if (!result.interrupted) return Exit::ok;
  const char* again = std::getenv("VLM2VEC_AGAIN");  // set by scripts that resume by themselves, such as make demo
  std::cerr << "Stopped; a checkpoint is saved in " << options.output_dir << ". To continue:\n  "
            << (again ? again : command_line(command.name, going_on(arguments))) << '\n';
  return interrupt_exit();
}

}  // namespace vlm2vec
