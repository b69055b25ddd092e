// The rows that `embed` and `search` turn into vectors: {"text", "instruction", "image": path or [paths], "id"}, one
// JSON object a line, not all of the first three absent. Pictures have the forms of mmeb/data/row_pictures.h.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mmeb/data/left_out.h"
#include "mmeb/data/pictures.h"
#include "vlm/encoder.h"

namespace vlm2vec {

struct InputRow {
  std::string text, instruction;
  std::vector<std::string> images = {};  // as Pictures finds them
  std::string id = {};                   // as JSON; empty: none
};
// Exit::data for unknown fields and wrong types.
InputRow input_row(const nlohmann::ordered_json& row, const Pictures& pictures);

// The prompt of `style` (vlm/prompt.h) and the pictures. Exit::data if a picture is not there.
EncoderInput encoder_input(const InputRow& row, const Pictures& pictures, const std::string& style,
                           const std::string& image_token);

struct InputRows {
  std::vector<EncoderInput> inputs;
  std::vector<int64_t> numbers;         // of each input: its row in the file, from 0
  std::map<int64_t, LeftOut> left_out;  // by their numbers: rows that are no inputs
  int64_t rows = 0;                     // of the file
};
// All rows of a file. A row with a fault is said now, not hours later; if `fault` returns, it is left out.
// image_dir: empty, the file's folder.
InputRows read_inputs(const std::filesystem::path& file, const std::filesystem::path& image_dir,
                      const std::string& style, const std::string& image_token, const RowFault& fault = {});

}  // namespace vlm2vec
