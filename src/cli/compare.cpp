#include <iostream>

#include "cli/commands.h"
#include "mmeb/evaluation/comparison.h"

namespace vlm2vec {

Exit run_compare(const Command& command, const Arguments& arguments) {
  std::vector<std::string> folders;
  uint64_t seed = 42;
  bool json = false;
  CommandLine line(command.name, command.purpose, "compare runs/demo/untrained runs/demo/trained");
  line.words("A B", folders, "two folders of eval (--encode_output_path) with the same rows");
  line("seed", seed, "random seed of the resampling for the intervals");
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;
  if (folders.size() != 2)
    fail(Exit::usage, "compare: got ", folders.size(), folders.size() == 1 ? " folder" : " folders", ", expected 2");
  const Comparison comparison = compare_evaluations(folders[0], folders[1], seed);
  if (json) std::cout << comparison_json(comparison) << '\n';
  else std::cout << comparison_table(comparison);
  return Exit::ok;
}

}  // namespace vlm2vec
