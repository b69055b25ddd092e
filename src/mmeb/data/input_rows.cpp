#include "mmeb/data/input_rows.h"

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "io/json_lines.h"
#include "io/text.h"
#include "mmeb/data/row_pictures.h"

namespace vlm2vec {

namespace fs = std::filesystem;

InputRow input_row(const nlohmann::ordered_json& row, const Pictures& pictures) {
  for (const auto& [key, value] : row.items())
    if (key != "text" && key != "image" && key != "instruction" && key != "id")
      fail(Exit::data, "has the unknown field ", key, "; expected text, image, instruction or id");
  InputRow input;
  if (has_value(row, "text")) input.text = text_field(row, "text");
  if (has_value(row, "instruction")) input.instruction = text_field(row, "instruction");
  if (has_value(row, "id")) input.id = row["id"].dump();
  if (row.contains("image")) input.images = pictures_field(row, "image", pictures);
  return input;
}

EncoderInput encoder_input(const InputRow& row, const Pictures& pictures, const PromptStyle& style,
                           const std::string& image_token) {
  const Prompt prompt = style.build({row.instruction, row.text, row.images.size()}, image_token);
  EncoderInput input{.text = prompt.text, .images = {}, .route = style.route, .uncounted = style.uncounted};
  for (const size_t picture : prompt.pictures) {
    const std::string& name = row.images[picture];
    if (!pictures.find(name))
      fail(Exit::data, one_line(pictures.locate(name).name(), 300), ": no such picture (", pictures.likely_cause(name),
           ")");
    input.images.push_back(pictures.locate(name));
  }
  return input;
}

InputRows read_inputs(const fs::path& file, const fs::path& image_dir, const PromptStyle& style,
                      const std::string& image_token, const RowFault& fault) {
  const Pictures pictures(image_dir.empty() ? file.parent_path() : image_dir);
  InputRows all;
  const auto name = [&] { return sentence("row ", all.rows + 1, " of ", file.string()); };
  const auto add = [&](const nlohmann::ordered_json& row) {
    EncoderInput input = encoder_input(input_row(row, pictures), pictures, style, image_token);
    input.row = name();
    if (const std::string fault = prompt_fault(input.text, input.images.size(), image_token, true); !fault.empty())
      fail(Exit::data, fault);
    all.inputs.push_back(std::move(input)), all.numbers.push_back(all.rows++);
  };
  const auto leave_out = [&](const Error& error) {
    fault(error);
    const std::string what = error.what();  // follows file and line, which name() replaces
    all.left_out[all.rows] = {name(), "input", what.substr(what.find(": ", file.string().size()) + 2)};
    ++all.rows;
  };
  read_json_lines(file, add, 0, nullptr, fault ? leave_out : RowFault());
  return all;
}

}  // namespace vlm2vec
