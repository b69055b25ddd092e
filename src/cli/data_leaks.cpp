#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/data_folder_options.h"
#include "mmeb/data/data_leaks.h"

namespace vlm2vec {

Exit run_data_leaks(const Command& command, const Arguments& arguments) {
  std::vector<std::string> folders, image_dirs;
  std::string dataset_split = "original";
  int64_t distance = 4;
  bool fails = false, quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "data leaks MMEB-train MMEB-eval");
  line.words("A B", folders, "two folders of training or test sets");
  line("image_dir", image_dirs, "<PATH> folders of pictures of A and of B, or one for both (default: A and B)");
  line("dataset_split", dataset_split,
       "<NAME> which rows of training sets: original or diverse_instruction; test: only test sets");
  line("distance", distance, "pictures are similar if at most N of their 64 hash bits differ, 0 to 15");
  line("fail", fails, "exit with 1 if pairs or pictures are shared");
  line.threads().quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (folders.size() != 2)
    fail(Exit::usage, "data leaks: got ", counted(folders.size(), "folder"), ", expected two, A and B");
  if (image_dirs.size() > 2)
    fail(Exit::usage, "data leaks: --image_dir: got ", image_dirs.size(), ", expected one or two");
  if (distance < 0 || distance > 15) fail(Exit::usage, "data leaks: --distance: got ", distance, ", expected 0 to 15");
  const auto image_dir = [&](size_t i) {
    return image_dirs.empty() ? "" : image_dirs[std::min(i, image_dirs.size() - 1)];
  };
  std::vector<DataFolder> data;
  for (size_t i = 0; i < 2; ++i) data.push_back(open_data_folder(folders[i], {{}, {}, image_dir(i), dataset_split}));
  print_notes(data);
  const LeakReport report = find_leaks(data[0], data[1], int(distance), quiet);
  if (json) std::cout << leaks_json(report) << '\n';
  else std::cout << leaks_table(report);
  return fails && report.leaks() ? Exit::failed : Exit::ok;
}

}  // namespace vlm2vec
