// --bad_rows skip: rows that turn out to be unusable (a line that cannot be read, a picture that cannot be decoded, a
// side with neither text nor picture, image tokens that do not fit the pictures) are left out and listed.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/json_lines.h"

namespace vlm2vec {

struct LeftOut {
  std::string row;   // "row 12 of Scene_t2i"
  std::string side;  // "query", "target", "negative", "candidate 3", "input", or "row": all of it cannot be read
  std::string fault;
};

// {"row": "row 12 of Scene_t2i", "side": "query", "error": "…"} for each; nothing left out: the file is removed.
void write_left_out(const std::filesystem::path& file, const std::vector<LeftOut>& sides);
std::string left_out_line(const LeftOut& side);

// True for skip, false for error; Exit::usage for another word.
bool skips_bad_rows(const std::string& command, const std::string& bad_rows);

// The error, and how to go on without the row.
[[noreturn]] void refuse_row(const Error& error);
// For rows that are read: nothing with `skip`, else refuse_row.
RowFault bad_row(bool skip);

// f(), in which only rows have faults; with --bad_rows error, an error of a row says how to go on without it.
template <class F>
auto reading_rows(const std::string& bad_rows, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    if (error.code != Exit::data || bad_rows == "skip") throw;
    refuse_row(error);
  }
}

}  // namespace vlm2vec
