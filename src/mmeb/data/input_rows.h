// The rows of `embed` and `search`: {"text", "instruction", "image": path or [paths], "id"}, one JSON object per line.
// Each row has one of the first three fields. Pictures have the forms of mmeb/data/row_pictures.h.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mmeb/data/left_out.h"
#include "mmeb/data/pictures.h"
#include "vlm/encoder.h"
#include "vlm/prompt.h"

namespace vlm2vec {

struct InputRow {
  std::string text, instruction;
  std::vector<std::string> images = {};  // names for Pictures::find
  std::string id = {};                   // as JSON; empty if absent
};
// Throws Exit::data for unknown fields and wrong types.
InputRow input_row(const nlohmann::ordered_json& row, const Pictures& pictures);

// Returns the prompt with the pictures. Throws Exit::data if a picture is missing.
EncoderInput encoder_input(const InputRow& row, const Pictures& pictures, const PromptStyle& style,
                           const std::string& image_token);

struct InputRows {
  std::vector<EncoderInput> inputs;
  std::vector<int64_t> numbers;         // per input: its row in the file, from 0
  std::map<int64_t, LeftOut> left_out;  // rows that are not inputs, by number
  int64_t rows = 0;                     // number of rows in the file
};
// Reads all rows of a file, so that faults show before hours of work. Leaves out a row if `fault` returns for it. An
// empty image_dir means the file's folder.
InputRows read_inputs(const std::filesystem::path& file, const std::filesystem::path& image_dir,
                      const PromptStyle& style, const std::string& image_token, const RowFault& fault = {});

}  // namespace vlm2vec
