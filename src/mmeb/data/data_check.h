// Can these sets be trained and evaluated on? Rows that can be read, pictures that are there (and can be decoded),
// texts that agree with them.
#pragma once
#include <functional>

#include "mmeb/data/data_folder.h"

namespace vlm2vec {

struct SetCheck {
  std::string name;
  bool test = false;
  int64_t rows = 0, pictures = 0, missing = 0, broken = 0;  // pictures: distinct paths; broken: cannot be decoded
  int64_t flawed = 0, rotated = 0;                          // decoded in spite of a flaw; stored rotated, by EXIF
  int64_t without_picture = 0;        // an image token and no path, as the official queries of WebQA and EDIS: no fault
  int64_t without_token = 0;          // a path and not exactly one image token: no model can read this side
  int64_t empty = 0;                  // neither text nor picture: an empty prompt
  std::vector<std::string> problems;  // one line each
  bool good() const { return problems.empty(); }
};
// Missing pictures and everything else that is wrong is a line in `problems`, with the first five cases and how many
// there are. `decode`: every picture, on all cores.
SetCheck check_data_set(const DataSet& set, const Pictures& pictures, bool decode);

}  // namespace vlm2vec
