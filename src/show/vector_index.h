// What `embed` leaves, as an index: F.npy with the vectors, F.npy.json beside it, which says how they were made (the
// model's options and hash, the style of the prompts) and from what (the file of rows; skipped_rows, counted from 1,
// are those without a vector). Places are named as seen from F.npy's folder, and whole under "absolute": one of the two
// holds wherever F.npy goes, with them or alone.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "mmeb/data/input_rows.h"
#include "tensor/tensor.h"
#include "vlm/model_options.h"

namespace vlm2vec {

struct VectorOrigin {
  ModelOptions model;
  std::string model_sha256;  // ModelHash: of the model's and the adapter's files
  std::string prompt;
  std::filesystem::path input, image_dir;  // input: empty if the rows came through a pipe
  std::string input_sha256;
  std::vector<int64_t> skipped_rows = {};  // of the input, without a vector (--bad_rows skip); from 0, ascending
};

// Beside `vectors`, whose shape it also says.
void write_origin(const std::filesystem::path& vectors, const VectorOrigin& origin, const Tensor& made);

struct VectorIndex {
  std::filesystem::path file;
  Tensor vectors;  // f32 [rows, dim], where the mapped file has them
  VectorOrigin origin;
  int64_t input_row(int64_t vector) const;  // of which row of the input it is the vector, both from 0
};
VectorIndex open_index(const std::filesystem::path& vectors);  // Exit::data if it is not what `embed` leaves

// Exit::data unless vectors of the two can be compared: made by the same model with the same options. The prompts may
// differ, as those of queries and targets do.
void require_same_model(const VectorIndex& index, const VectorIndex& queries);

// Those rows of the index's input (numbers from 0, in any order); empty if it was a pipe. Exit::data if the file is not
// what it was.
std::vector<InputRow> rows_of(const VectorIndex& index, const std::vector<int64_t>& numbers, const Pictures& pictures);

}  // namespace vlm2vec
