// --bad_rows skip: leaves out and lists unusable rows. Such a row has an unreadable line, a picture that cannot be
// decoded, a side without text and picture, or image tokens that do not match its pictures.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/json_lines.h"

namespace vlm2vec {

struct LeftOut {
  std::string row;   // "row 12 of Scene_t2i"
  std::string side;  // "query", "target", "negative", "candidate 3", "input", or "row" if it is unreadable
  std::string fault;
};

// Writes {"row": "row 12 of Scene_t2i", "side": "query", "error": "…"} for each; removes the file if there is none.
void write_left_out(const std::filesystem::path& file, const std::vector<LeftOut>& sides);
std::string left_out_line(const LeftOut& side);

// Returns true for skip, false for error; throws Exit::usage for another word.
bool skips_bad_rows(const std::string& command, const std::string& bad_rows);

// Throws the error with a hint at --bad_rows skip.
[[noreturn]] void refuse_row(const Error& error);
// Returns a function for faulty rows: it ignores them with `skip`, else calls refuse_row.
RowFault bad_row(bool skip);

// Runs f(), whose errors must come from rows. With --bad_rows error, the error says how to continue without the row.
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
