#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/data_folder_options.h"
#include "mmeb/data/data_check.h"
#include "tensor/storage.h"
#include "vlm/encoder.h"

namespace vlm2vec {

Exit run_data_check(const Command& command, const Arguments& arguments) {
  DataFolderOptions options;
  CheckOptions check;
  std::string model_name;
  bool json = false;
  CommandLine line(command.name, command.purpose, "data check MMEB-train MMEB-eval");
  declare(line, options);
  line("decode", check.decode, "decode every picture (False: only check that it exists)");
  line("model_name", model_name,
       "<DIR> folder of the model for these rows, which gives the image token (default: Qwen2-VL's)");
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;

  std::vector<std::vector<std::string>> table = {
      {"set", "kind", "rows", "pictures", "missing", "undecodable", "flawed", "token, no picture", "faults"}};
  std::vector<std::string> problems;
  int64_t pictures = 0, rotated = 0;
  nlohmann::ordered_json result = {{"sets", nlohmann::ordered_json::array()}};
  const std::vector<DataFolder> folders = open_data_folders(options);
  if (!model_name.empty()) {
    const DryRun no_weights;
    check.image_token = load_encoder(model_name, {.load_weights = false})->image_token();
  }
  for (const DataFolder& folder : folders)
    for (const DataSet& set : folder.sets) {
      const SetCheck c = check_data_set(set, folder, check);
      const auto decoded = [&](int64_t count) { return check.decode ? sentence(count) : "-"; };
      table.push_back({c.name, c.test ? "test" : "train", sentence(c.rows), sentence(c.pictures), sentence(c.missing),
                       decoded(c.broken), decoded(c.flawed), sentence(c.without_picture), sentence(c.problems.size())});
      problems.insert(problems.end(), c.problems.begin(), c.problems.end());
      nlohmann::ordered_json entry = {{"name", c.name},
                                      {"kind", c.test ? "test" : "train"},
                                      {"rows", c.rows},
                                      {"pictures", c.pictures},
                                      {"missing", c.missing},
                                      {"tokens_without_picture", c.without_picture},
                                      {"pictures_without_token", c.without_token},
                                      {"empty_prompts", c.empty},
                                      {"problems", c.problems}};
      if (check.decode) entry["undecodable"] = c.broken, entry["flawed"] = c.flawed, entry["rotated"] = c.rotated;
      pictures += c.pictures, rotated += c.rotated;
      result["sets"].push_back(entry);
    }
  if (json) std::cout << result << '\n';
  else
    std::cout << text_table(table)
              << "flawed: pictures that are read in spite of a flaw in the file\n"
                 "token, no picture: sides with an image token but without a picture, which is not a fault\n"
              << (!problems.empty() ? ""
                  : check.decode    ? "nothing is missing\n"
                                    : "nothing is missing; pictures were not decoded\n");
  std::cout.flush();
  print_notes(folders);
  if (rotated > 0)
    std::cerr << rotated << " of " << pictures << " pictures are stored rotated; --exif True turns them\n";
  for (const std::string& problem : problems) std::cerr << problem << '\n';
  return problems.empty() ? Exit::ok : Exit::data;
}

}  // namespace vlm2vec
