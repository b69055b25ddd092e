#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/interrupt.h"
#include "mmeb/progress.h"
#include "tensor/io/files.h"
#include "tensor/io/json_lines.h"
#include "tensor/io/npy.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// {"text", "instruction", "image": path or [paths]}, not all absent. A picture that is not there is said now, not hours
// later.
std::vector<EncoderInput> read_inputs(const fs::path& file, const fs::path& image_dir, const std::string& prompt,
                                      const std::string& image_token) {
  std::vector<EncoderInput> rows;
  read_json_lines(file, [&](const nlohmann::ordered_json& row) {
    for (const auto& [key, value] : row.items())
      if (key != "text" && key != "image" && key != "instruction" && key != "id")
        fail(Exit::data, "has the unknown field ", key, "; expected text, image, instruction or id");
    const bool text = row.contains("text"), instruction = row.contains("instruction");
    const bool image = row.contains("image") && !row["image"].is_null() && row["image"] != "";
    if (!text && !image && !instruction) fail(Exit::data, "has neither text nor image");
    EncoderInput input;
    input.row = sentence("row ", rows.size() + 1, " of ", file.string());
    std::vector<std::string> names;
    if (image && row["image"].is_array()) names = text_list_field(row, "image");
    else if (image) names = {text_field(row, "image")};
    for (const std::string& name : names) {
      input.images.push_back(image_dir / name);
      if (!fs::exists(input.images.back())) fail(Exit::data, input.images.back().string(), ": no such picture");
    }
    const PromptParts parts{instruction ? text_field(row, "instruction") : "", text ? text_field(row, "text") : "",
                            names.size()};
    input.text = build_prompt(prompt, parts, image_token);
    rows.push_back(std::move(input));
  });
  return rows;
}

// How the vectors were made.
nlohmann::json description(ModelOptions model, const std::string& prompt, size_t rows, int64_t dimensions) {
  nlohmann::json how = {{"prompt", prompt}, {"rows", rows}, {"dimensions", dimensions}};
  model.fields([&](const char* name, const auto& value, const char*) { how[name] = value; });
  return how;
}

}  // namespace

Exit run_embed(const Command& command, const Arguments& arguments) {
  ModelOptions model;
  std::string input, image_dir, output, embedding_cache, prompt = "raw";
  int64_t batch_size = 32;
  Device device;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose,
                   "embed --model_name runs/demo/model --input rows.jsonl --output rows.npy");
  model.fields(line);
  line("input", input, "lines {\"text\": ..., \"image\": path or [paths], \"instruction\": ...}");
  line("prompt", prompt,
       "raw: the text is the prompt, with an image token for each picture; vlm2vec-v1, vlm2vec-v2: built as the "
       "official "
       "code does");
  line("image_dir", image_dir, "joined before relative picture paths (default: the folder of the input)");
  line("output", output,
       "NumPy file to write: f32 [lines, dimensions], rows of length 1; FILE.json beside it says how");
  line("batch_size", batch_size, "lines embedded at a time; results do not depend on it");
  line("embedding_cache", embedding_cache,
       "folder that keeps vectors for later: those of the same model, options, text and pictures are not made again");
  line.require({"model_name", "input", "output"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (batch_size < 1) fail(Exit::usage, "embed: --batch_size: got ", batch_size, ", expected at least 1");
  check_output_file(output, input);
  build_prompt(prompt, {}, "");  // a wrong style is said before the model is loaded
  Embedder embedder(model, embedding_cache, device, quiet);
  const std::vector<EncoderInput> rows =
      read_inputs(input, image_dir.empty() ? fs::path(input).parent_path() : fs::path(image_dir), prompt,
                  embedder.encoder().image_token());
  Progress progress("embed", int64_t(rows.size()), quiet);
  const auto update = [&](int64_t done) {
    if (interrupted() && done < int64_t(rows.size()))
      fail(Exit::failed, "embed: interrupted after ", done, " of ", rows.size(), " rows; ", embedder.how_to_go_on());
    progress.update(done);
  };
  const InterruptGuard guard;  // a signal waits until what is being written is whole
  write_npy(output, embedder.embed(rows, batch_size, update));
  progress.note(embedder.encoder().flaw_note());
  progress.note(embedder.cache_note());
  if (fs::is_regular_file(output))  // not a pipe or a device
    write_json(output + ".json", description(model, prompt, rows.size(), embedder.encoder().dim()));
  if (json)
    std::cout << nlohmann::ordered_json{{"rows", rows.size()},
                                        {"dimensions", embedder.encoder().dim()},
                                        {"precision", model.precision},
                                        {"seconds", progress.seconds()},
                                        {"output", output}}
              << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
