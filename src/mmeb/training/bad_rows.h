// --bad_rows skip: what training does with rows that turn out to be unusable only when they are read: a picture that
// cannot be decoded, a side with neither text nor picture, image tokens that do not fit the pictures. A pair with such
// a query or target is left out of its batch, and such a negative out of the batch's negatives, the same in every run;
// each is listed once in skipped_rows.jsonl: {"row": "row 12 of Scene_t2i", "side": "query", "error": "…"}.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "mmeb/training/training_batch.h"

namespace vlm2vec {

class BadRows {
 public:
  // Goes on with the list in `output_dir` if `resumed`, else begins it anew.
  BadRows(std::filesystem::path output_dir, bool resumed);
  void add(const std::vector<LeftOut>& sides);
  std::string note() const;  // how many rows and negatives are listed, and where; empty: none

 private:
  void count(const nlohmann::ordered_json& line);
  std::filesystem::path file_;
  std::set<std::string> lines_, rows_;
  int64_t negatives_ = 0;
};

}  // namespace vlm2vec
