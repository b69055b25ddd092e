// The rows that `embed` and `search` turn into vectors: {"text", "instruction", "image": path or [paths], "id"}, one
// JSON object a line, not all of the first three absent. Pictures have the forms of mmeb/data/row_pictures.h.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "mmeb/data/pictures.h"
#include "vlm/encoder.h"

namespace vlm2vec {

struct InputRow {
  std::string text, instruction;
  std::vector<std::string> images;  // as Pictures finds them
};
// Exit::data for unknown fields and for nothing to embed.
InputRow input_row(const nlohmann::ordered_json& row, const Pictures& pictures);

// The prompt of `style` (vlm/prompt.h) and the pictures. Exit::data if one of these is not there.
EncoderInput encoder_input(const InputRow& row, const Pictures& pictures, const std::string& style,
                           const std::string& image_token);

// All rows of a file. A picture that is not there is said now, not hours later. image_dir: empty, the file's folder.
std::vector<EncoderInput> read_inputs(const std::filesystem::path& file, const std::filesystem::path& image_dir,
                                      const std::string& style, const std::string& image_token);

}  // namespace vlm2vec
