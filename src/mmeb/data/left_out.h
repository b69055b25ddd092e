// --bad_rows skip: rows that turn out to be unusable (a picture that cannot be decoded, a side with neither text nor
// picture, image tokens that do not fit the pictures) are left out and listed.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace vlm2vec {

struct LeftOut {
  std::string row;   // "row 12 of Scene_t2i"
  std::string side;  // "query", "target", "negative", "candidate 3" or "input"
  std::string fault;
};

// {"row": "row 12 of Scene_t2i", "side": "query", "error": "…"} for each; nothing left out: the file is removed.
void write_left_out(const std::filesystem::path& file, const std::vector<LeftOut>& sides);
std::string left_out_line(const LeftOut& side);

// True for skip, false for error; Exit::usage for another word.
bool skips_bad_rows(const std::string& command, const std::string& bad_rows);

// f(), in which rows are read; with --bad_rows error, an error of a row says how to go on without it.
template <class F>
auto reading_rows(const std::string& bad_rows, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    if (error.code != Exit::data || bad_rows == "skip") throw;
    fail(error.code, error.what(), " (--bad_rows skip leaves such rows out)");
  }
}

}  // namespace vlm2vec
