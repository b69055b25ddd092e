#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/data/data_stats.h"

namespace vlm2vec {

Exit run_data_stats(const Command& command, const Arguments& arguments) {
  std::vector<std::string> folders, subsets;
  bool json = false;
  CommandLine line(command.name, command.purpose, "data stats MMEB-train MMEB-eval");
  line.words("FOLDER...", folders, "folders of training or test sets");
  line("subset_name", subsets, "only these sets");
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  std::vector<SetStats> sets;
  for (const DataFolder& folder : open_data_folders(folders, "", subsets))
    for (const DataSet& set : folder.sets) sets.push_back(stats_of(set));
  if (json) std::cout << stats_json(sets) << '\n';
  else std::cout << stats_table(sets);
  return Exit::ok;
}

}  // namespace vlm2vec
