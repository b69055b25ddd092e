// Finds all faults in data sets that would stop `train` or `eval`, by the same functions: unreadable rows, unknown
// tasks, missing or undecodable pictures, texts that do not match the pictures.
#pragma once
#include "mmeb/data/data_folder.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct SetCheck {
  std::string name;
  bool test = false;
  int64_t rows = 0, pictures = 0, missing = 0, broken = 0;  // pictures: distinct; broken: cannot be decoded
  int64_t flawed = 0, rotated = 0;                          // decoded in spite of a flaw; stored rotated (EXIF)
  int64_t without_picture = 0;        // sides with an image token but no picture, as in WebQA: not a fault
  int64_t without_token = 0;          // sides that no model can read: image tokens do not match the pictures
  int64_t empty = 0;                  // sides with neither text nor picture
  std::vector<std::string> problems;  // one line each
  bool good() const { return problems.empty(); }
};

struct CheckOptions {
  bool decode = true;                          // decodes every picture, on all cores
  std::string image_token = kUsualImageToken;  // token of the model for these rows
};
// Adds a line to `problems` for each kind of fault, with the number of cases and the first five.
SetCheck check_data_set(const DataSet& set, const DataFolder& folder, const CheckOptions& options = {});

}  // namespace vlm2vec
