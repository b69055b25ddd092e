// Can these sets be trained and evaluated on? Everything in the data that would stop `train` or `eval`, found by the
// functions that stop them: rows that can be read, tasks, pictures that are there and can be decoded, texts that agree
// with them.
#pragma once
#include "mmeb/data/data_folder.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct SetCheck {
  std::string name;
  bool test = false;
  int64_t rows = 0, pictures = 0, missing = 0, broken = 0;  // pictures: distinct ones; broken: cannot be decoded
  int64_t flawed = 0, rotated = 0;                          // decoded in spite of a flaw; stored rotated, by EXIF
  int64_t without_picture = 0;        // an image token and no picture, as the official queries of WebQA: no fault
  int64_t without_token = 0;          // image tokens that do not fit the pictures: no model can read this side
  int64_t empty = 0;                  // neither text nor picture: an empty prompt
  std::vector<std::string> problems;  // one line each
  bool good() const { return problems.empty(); }
};

struct CheckOptions {
  bool decode = true;                          // every picture, on all cores
  std::string image_token = kUsualImageToken;  // of the model that is to read the rows
};
// Everything that is wrong is a line in `problems`, with the first five cases and how many there are.
SetCheck check_data_set(const DataSet& set, const DataFolder& folder, const CheckOptions& options = {});

}  // namespace vlm2vec
