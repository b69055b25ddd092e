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
  for (const std::string& name : row.images) input.images.push_back(image_dir / name);
  return input;
}

std::string fault_of(const EncoderInput& input, const std::string& image_token) {
  const size_t pictures = input.images.size();
  if (input.text.empty() && pictures == 0) return "has neither text nor picture; nothing can stand for its embedding";
  for (const fs::path& picture : input.images)
    if (!fs::exists(picture)) return picture.string() + ": no such picture";
  size_t tokens = 0;
  for (size_t at = 0; (at = input.text.find(image_token, at)) != std::string::npos; at += image_token.size()) ++tokens;
  if (pictures == 0 || tokens == pictures) return "";
  return sentence("the text has ", tokens, " image tokens (\"", image_token, "\") and ", pictures,
                  pictures == 1 ? " picture" : " pictures",
                  "; every picture needs one (--prompt vlm2vec-v2 puts it there)");
}

InputRows read_inputs(const fs::path& file, const fs::path& image_dir, const std::string& style,
                      const std::string& image_token, bool skip) {
  const fs::path folder = image_dir.empty() ? file.parent_path() : image_dir;
  InputRows all;
  read_json_lines(file, [&](const nlohmann::ordered_json& row) {
    EncoderInput input = encoder_input(input_row(row), folder, style, image_token);
    const int64_t number = all.rows++;
    input.row = sentence("row ", number + 1, " of ", file.string());
    const std::string fault = fault_of(input, image_token);
    if (!fault.empty() && !skip) fail(Exit::data, fault);
    if (!fault.empty()) all.left_out[number] = {input.row, "input", fault};
    else all.inputs.push_back(std::move(input)), all.numbers.push_back(number);
  });
  return all;
}

}  // namespace vlm2vec
