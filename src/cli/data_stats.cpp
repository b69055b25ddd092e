#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/data_folder_options.h"
#include "mmeb/data/data_stats.h"

namespace vlm2vec {

Exit run_data_stats(const Command& command, const Arguments& arguments) {
  DataFolderOptions options;
  bool json = false;
  CommandLine line(command.name, command.purpose, "data stats MMEB-train MMEB-eval");
  declare(line, options, false);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  std::vector<SetStats> sets;
  const std::vector<DataFolder> folders = open_data_folders(options);
  for (const DataFolder& folder : folders)
    for (const DataSet& set : folder.sets) sets.push_back(stats_of(set, folder.pictures));
  if (json) std::cout << stats_json(sets) << '\n';
  else std::cout << stats_table(sets) << std::flush;
  print_notes(folders);
  return Exit::ok;
}

}  // namespace vlm2vec
