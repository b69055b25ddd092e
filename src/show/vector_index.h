// Reads the files of `embed` as an index: F.npy has the vectors, F.npy.json says how they were made. It has the model's
// options and hash, the style of the prompts and the file of rows; skipped_rows, counted from 1, have no vector. Paths
// are relative to F.npy's folder, and absolute under "absolute": one of the two works wherever F.npy moves.
#pragma once
#include <filesystem>
#include <vector>

#include "mmeb/data/input_rows.h"
#include "tensor/tensor.h"
#include "vlm/model_options.h"

namespace vlm2vec {

struct VectorOrigin {
  ModelOptions model;
  std::string model_sha256;  // ModelHash over the files of model and adapter
  std::string prompt, device = "cpu";
  std::filesystem::path input, image_dir;  // input: empty if the rows came through a pipe
  std::string input_sha256;
  std::vector<int64_t> skipped_rows = {};  // input rows without a vector (--bad_rows skip); from 0, ascending
};

// Writes F.npy.json beside `vectors`, with the shape of `made`.
void write_origin(const std::filesystem::path& vectors, const VectorOrigin& origin, const Tensor& made);

struct VectorIndex {
  std::filesystem::path file;
  Tensor vectors;  // f32 [rows, dim], in the mapped file
  VectorOrigin origin;
  int64_t input_row(int64_t vector) const;  // the input row of a vector, both from 0
};
VectorIndex open_index(const std::filesystem::path& vectors);  // Exit::data if `embed` did not write it

// Throws Exit::data unless the same model with the same options made both. Prompts may differ, as for queries and
// targets.
void require_same_model(const VectorIndex& index, const VectorIndex& queries);

// Returns the given rows of the index's input (numbers from 0, in any order); none if the input was a pipe. Throws
// Exit::data if the file has changed.
std::vector<InputRow> rows_of(const VectorIndex& index, const std::vector<int64_t>& numbers, const Pictures& pictures);

}  // namespace vlm2vec
