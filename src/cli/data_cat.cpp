#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/row_files.h"

namespace vlm2vec {

Exit run_data_cat(const Command& command, const Arguments& arguments) {
  std::vector<std::string> files, columns;
  int64_t limit = 0;
  CommandLine line(command.name, command.purpose, "data cat MMEB-eval/OK-VQA/test-00000-of-00001.parquet --limit 3");
  line.words("FILE", files, "Parquet files or files of JSON lines");
  line("columns", columns, "of Parquet files: only these columns");
  line("limit", limit, "the first N rows of each file (0: all)");
  if (!line.parse(arguments)) return Exit::ok;

  if (limit < 0) fail(Exit::usage, "data cat: --limit: got ", limit, ", expected 0 or more");
  for (const std::string& file : files)
    read_rows(
        file, columns, [](const nlohmann::ordered_json& row) { std::cout << row << '\n'; }, limit);
  return Exit::ok;
}

}  // namespace vlm2vec
