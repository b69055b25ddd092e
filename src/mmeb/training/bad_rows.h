// --bad_rows skip: what training does with rows that turn out to be unusable only when they are read: a picture that
// cannot be decoded, a side with neither text nor picture, image tokens that do not fit the pictures. Such a pair is
// left out of its batch, the same in every run, and listed once in skipped_rows.jsonl:
// {"row": "row 12 of Scene_t2i", "error": "…"}.
#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "vlm/encoder.h"

namespace vlm2vec {

// Why the encoder cannot read this side; empty: it can. Errors that are not the row's (no memory) are thrown.
std::string fault_of(Encoder& encoder, const EncoderInput& input);

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

class BadRows {
 public:
  // Goes on with the list in `output_dir` if `resumed`, else begins it anew.
  BadRows(Encoder& encoder, std::filesystem::path output_dir, bool resumed);
  // Can the encoder read it? If not, it is listed.
  bool usable(const EncoderInput& input);
  std::string note() const;  // how many rows are listed, and where; empty: none

 private:
  Encoder& encoder_;
  std::filesystem::path file_;
  std::set<std::string> lines_;
};

}  // namespace vlm2vec
