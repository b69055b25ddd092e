#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/options.h"
#include "mmeb/progress.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"
#include "tensor/io/npy.h"
#include "vlm/encoder.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// {"text": prompt, "image": path or [paths]}; one of the two may be absent. A picture that is not there is said now,
// not hours later.
std::vector<EncoderInput> read_inputs(const fs::path& file, const fs::path& image_dir) {
  std::vector<EncoderInput> rows;
  read_json_lines(file, [&](const nlohmann::json& row) {
    const bool text = row.contains("text");
    const bool image = row.contains("image") && !row["image"].is_null() && row["image"] != "";
    if (!text && !image) fail(Exit::data, "has neither text nor image");
    EncoderInput input{text ? text_field(row, "text") : "", {}};
    std::vector<std::string> names;
    if (image && row["image"].is_array()) names = text_list_field(row, "image");
    else if (image) names = {text_field(row, "image")};
    for (const std::string& name : names) {
      input.images.push_back(image_dir / name);
      if (!fs::exists(input.images.back())) fail(Exit::data, input.images.back().string(), ": no such picture");
    }
    rows.push_back(std::move(input));
  });
  return rows;
}

}  // namespace

Exit run_embed(const Command& command, const Arguments& arguments) {
  std::string model_name, adapter, input, image_dir, image_resolution, output;
  int64_t batch_size = 32, resize_min_pixels = 0, resize_max_pixels = 0;
  Device device;
  bool use_dora = true, quiet = false, json = false;
  CommandLine line(command.name, command.purpose,
                   "embed --model_name runs/demo/model --input rows.jsonl --output rows.npy");
  line("model_name", model_name, "folder of the checkpoint (Hugging Face layout)");
  line("adapter", adapter, "PEFT LoRA folder to apply");
  line("use_dora", use_dora, "False reads a DoRA adapter as LoRA, without its magnitude vectors");
  line("input", input, "lines {\"text\": ..., \"image\": path or [paths]}; the text has one image token per picture");
  line("image_dir", image_dir, "joined before relative picture paths (default: the folder of the input)");
  line("output", output, "NumPy file to write: f32 [lines, dimensions], rows of length 1");
  line("batch_size", batch_size, "lines embedded at a time; results do not depend on it");
  line("image_resolution", image_resolution, image_resolution_help);
  line("resize_min_pixels", resize_min_pixels,
       "smaller pictures are enlarged to this area (0: preprocessor_config.json)");
  line("resize_max_pixels", resize_max_pixels,
       "larger pictures are reduced to this area (0: preprocessor_config.json)");
  line.require({"model_name", "input", "output"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (batch_size < 1) fail(Exit::usage, "embed: --batch_size: got ", batch_size, ", expected at least 1");
  check_output_file(output, input);
  const std::vector<EncoderInput> rows =
      read_inputs(input, image_dir.empty() ? fs::path(input).parent_path() : fs::path(image_dir));
  const auto encoder =
      load_encoder(model_name, {.device = device,
                                .min_pixels = resize_min_pixels,
                                .max_pixels = resize_max_pixels,
                                .image_resolution = image_resolution});
  if (!adapter.empty()) load_adapter(*encoder, adapter, !use_dora, nullptr, DType::f32, device, encoder->notes);
  if (!quiet)
    for (const std::string& note : encoder->notes) std::cerr << note << '\n';
  Progress progress("embed", int64_t(rows.size()), quiet);
  write_npy(output, embed(*encoder, rows, batch_size, [&](int64_t done) { progress.update(done); }));
  progress.note(encoder->flaw_note());
  if (json)
    std::cout << nlohmann::ordered_json{{"rows", rows.size()},
                                        {"dimensions", encoder->dim()},
                                        {"seconds", progress.seconds()},
                                        {"output", output}}
              << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
