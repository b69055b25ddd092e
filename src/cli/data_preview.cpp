#include "show/data_preview.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/data_folder_options.h"
#include "io/files.h"
#include "mmeb/data/outputs.h"

namespace vlm2vec {

Exit run_data_preview(const Command& command, const Arguments& arguments) {
  DataFolderOptions options;
  std::string output;
  int64_t limit = 20;
  bool json = false;
  CommandLine line(command.name, command.purpose, "data preview MMEB-eval --output page.html --limit 5");
  declare(line, options);
  line("output", output, "<FILE> the HTML file to write");
  line("limit", limit, "the first N rows of each set");
  line.require({"output"});
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 1) fail(Exit::usage, "data preview: --limit: got ", limit, ", expected 1 or more");
  const std::vector<DataFolder> data = open_data_folders(options);
  check_output_file(output, kHtmlPage);
  write_atomically(output, [&](std::ostream& page) { write_preview(page, data, limit); });
  print_notes(data);
  size_t sets = 0;
  for (const DataFolder& folder : data) sets += folder.sets.size();
  if (json) std::cout << nlohmann::ordered_json{{"output", output}, {"sets", sets}} << '\n';
  else std::cout << "The page: " << output << " (open it in a browser)\n";
  return Exit::ok;
}

}  // namespace vlm2vec
