#include "mmeb/data/left_out.h"

#include <nlohmann/json.hpp>

#include "io/files.h"

namespace vlm2vec {

std::string left_out_line(const LeftOut& side) {
  const nlohmann::ordered_json line = {{"row", side.row}, {"side", side.side}, {"error", side.fault}};
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void write_left_out(const std::filesystem::path& file, const std::vector<LeftOut>& sides) {
  if (sides.empty()) {
    std::filesystem::remove(file);
    return;
  }
  std::string lines;
  for (const LeftOut& side : sides) lines += left_out_line(side) + "\n";
  write_text(file, lines);
}

void refuse_row(const Error& error) { fail(error.code, error.what(), " (--bad_rows skip leaves such rows out)"); }

RowFault bad_row(bool skip) {
  return skip ? RowFault([](const Error&) {}) : RowFault(refuse_row);
}

bool skips_bad_rows(const std::string& command, const std::string& bad_rows) {
  if (bad_rows != "error" && bad_rows != "skip")
    fail(Exit::usage, command, ": --bad_rows ", bad_rows, ", expected error or skip");
  return bad_rows == "skip";
}

}  // namespace vlm2vec
