#include "mmeb/data/data_preview.h"

#include "cli/commands.h"
#include "cli/data_folder_options.h"
#include "tensor/io/files.h"

namespace vlm2vec {

Exit run_data_preview(const Command& command, const Arguments& arguments) {
  DataFolderOptions options;
  std::string output;
  int64_t limit = 20;
  CommandLine line(command.name, command.purpose, "data preview MMEB-eval --output page.html --limit 5");
  declare(line, options);
  line("output", output, "the HTML file to write");
  line("limit", limit, "the first N rows of each set");
  line.require({"output"});
  line.threads();
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 1) fail(Exit::usage, "data preview: --limit: got ", limit, ", expected 1 or more");
  const std::vector<DataFolder> data = open_data_folders(options);
  check_output_file(output, options.folders[0]);
  write_atomically(output, [&](std::ostream& page) { write_preview(page, data, limit); });
  print_notes(data);
  return Exit::ok;
}

}  // namespace vlm2vec
