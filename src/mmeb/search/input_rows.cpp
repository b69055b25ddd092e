#include "mmeb/search/input_rows.h"

#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/json_lines.h"
#include "vlm/prompt.h"

namespace vlm2vec {

namespace fs = std::filesystem;

InputRow input_row(const nlohmann::ordered_json& row) {
  for (const auto& [key, value] : row.items())
    if (key != "text" && key != "image" && key != "instruction" && key != "id")
      fail(Exit::data, "has the unknown field ", key, "; expected text, image, instruction or id");
  const bool text = row.contains("text"), instruction = row.contains("instruction");
  const bool image = row.contains("image") && !row["image"].is_null() && row["image"] != "";
  if (!text && !image && !instruction) fail(Exit::data, "has neither text nor image");
  InputRow input;
  if (text) input.text = text_field(row, "text");
  if (instruction) input.instruction = text_field(row, "instruction");
  if (image && row["image"].is_array()) input.images = text_list_field(row, "image");
  else if (image) input.images = {text_field(row, "image")};
  return input;
}

EncoderInput encoder_input(const InputRow& row, const fs::path& image_dir, const std::string& style,
                           const std::string& image_token) {
  EncoderInput input{build_prompt(style, {row.instruction, row.text, row.images.size()}, image_token), {}};
  for (const std::string& name : row.images) {
    input.images.push_back(image_dir / name);
    if (!fs::exists(input.images.back())) fail(Exit::data, input.images.back().string(), ": no such picture");
  }
  return input;
}

std::vector<EncoderInput> read_inputs(const fs::path& file, const fs::path& image_dir, const std::string& style,
                                      const std::string& image_token) {
  const fs::path folder = image_dir.empty() ? file.parent_path() : image_dir;
  std::vector<EncoderInput> rows;
  read_json_lines(file, [&](const nlohmann::ordered_json& row) {
    rows.push_back(encoder_input(input_row(row), folder, style, image_token));
    rows.back().row = sentence("row ", rows.size(), " of ", file.string());
  });
  return rows;
}

}  // namespace vlm2vec
