#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "mmeb/evaluation/model_hash.h"
#include "mmeb/interrupt.h"
#include "mmeb/progress.h"
#include "mmeb/search/input_rows.h"
#include "mmeb/search/vector_index.h"
#include "tensor/io/files.h"
#include "tensor/io/npy.h"
#include "tensor/io/sha256.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace fs = std::filesystem;

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
       "official code does");
  line("image_dir", image_dir, "joined before relative picture paths (default: the folder of the input)");
  line("output", output,
       "NumPy file to write: f32 [lines, dimensions], rows of length 1; FILE.json beside it says how (for search)");
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
  if (image_dir.empty()) image_dir = fs::path(input).parent_path();
  build_prompt(prompt, {}, "");  // a wrong style is said before the model is loaded
  VectorOrigin origin{model, "", prompt};
  if (fs::is_regular_file(input))  // what comes through a pipe cannot be read again
    origin.input = input, origin.image_dir = image_dir, origin.input_sha256 = hash_of_file(input);
  Embedder embedder(model, embedding_cache, device, quiet);
  origin.model.image_positions = embedder.encoder().image_positions;
  origin.model_sha256 = hex(embedder.model_hash().digest());
  const std::vector<EncoderInput> rows = read_inputs(input, image_dir, prompt, embedder.encoder().image_token());
  Progress progress("embed", int64_t(rows.size()), quiet);
  const auto update = [&](int64_t done) {
    if (interrupted() && done < int64_t(rows.size()))
      fail(Exit::failed, "embed: interrupted after ", done, " of ", rows.size(), " rows; ", embedder.how_to_go_on());
    progress.update(done);
  };
  const InterruptGuard guard;  // a signal waits until what is being written is whole
  const Tensor vectors = embedder.embed(rows, batch_size, update);
  embedder.model_hash().require_unchanged();
  fs::remove(output + ".json");  // of earlier vectors
  write_npy(output, vectors);
  progress.note(embedder.encoder().flaw_note());
  progress.note(embedder.cache_note());
  if (fs::is_regular_file(output))  // not a pipe or a device
    write_origin(output, origin, vectors);
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
