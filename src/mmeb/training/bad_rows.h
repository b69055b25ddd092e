// --bad_rows skip: leaves out rows that prove unusable during training. Faults are a picture that cannot be decoded, a
// side with neither text nor picture, or image tokens that do not match the pictures. A pair with a bad query or target
// leaves its batch, a bad negative leaves the batch's negatives, the same in every run. skipped_rows.jsonl lists each
// once: {"row": "row 12 of Scene_t2i", "side": "query", "error": "…"}.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "mmeb/training/training_batch.h"

namespace vlm2vec {

class BadRows {
 public:
  // Continues the list in `output_dir` if `resumed`, else starts a new one.
  BadRows(std::filesystem::path output_dir, bool resumed);
  void add(const std::vector<LeftOut>& sides);
  std::string note() const;  // says how many rows and negatives are listed, and where; empty if none

 private:
  void count(const nlohmann::ordered_json& line);
  std::filesystem::path file_;
  std::set<std::string> lines_, rows_;
  int64_t negatives_ = 0;
};

}  // namespace vlm2vec
