#include "mmeb/data/data_preview.h"
#include "cli/commands.h"
#include "tensor/io/files.h"

namespace vlm2vec {

Exit run_data_preview(const Command& command, const Arguments& arguments) {
  std::vector<std::string> folders, subsets;
  std::string image_dir, output;
  int64_t limit = 20;
  CommandLine line(command.name, command.purpose, "data preview MMEB-eval --output page.html --limit 5");
  line.words("FOLDER...", folders, "folders of training or test sets");
  line("output", output, "the HTML file to write");
  line("image_dir", image_dir, "as in train and eval (default: the folder)");
  line("subset_name", subsets, "only these sets");
  line("limit", limit, "the first N rows of each set");
  line.require({"output"});
  line.threads();
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 1) fail(Exit::usage, "data preview: --limit: got ", limit, ", expected 1 or more");
  const std::vector<DataFolder> data = open_data_folders(folders, image_dir, subsets);
  check_output_file(output, folders[0]);
  write_atomically(output, [&](std::ostream& page) { write_preview(page, data, limit); });
  return Exit::ok;
}

}  // namespace vlm2vec
