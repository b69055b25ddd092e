#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "io/interrupt.h"
#include "io/npy.h"
#include "io/progress.h"
#include "io/sha256.h"
#include "mmeb/data/input_rows.h"
#include "mmeb/data/outputs.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "show/vector_index.h"
#include "vlm/model_hash.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSkippedRows = ".skipped_rows.jsonl";  // behind the name of the vectors
constexpr FileKind kOrigin = {"what embed writes about its vectors", "{\n  \"absolute\": "};

// The vectors of the rows that could be read, moved together; the others are left out.
Tensor without_faults(InputRows& rows, const EmbeddedRows& embedded) {
  const int64_t dim = embedded.vectors.columns();
  float* const vectors = embedded.vectors.data<float>();
  int64_t kept = 0;
  for (size_t i = 0; i < rows.inputs.size(); ++i) {
    if (embedded.faults[i].empty()) std::copy_n(vectors + int64_t(i) * dim, dim, vectors + kept++ * dim);
    else rows.left_out[rows.numbers[i]] = {rows.inputs[i].row, "input", embedded.faults[i]};
  }
  if (kept == 0)
    fail(Exit::data, "embed: none of ", rows.rows, " rows can be used; ", rows.left_out.begin()->second.row, ": ",
         rows.left_out.begin()->second.fault);
  return embedded.vectors.rows(0, kept);
}

std::string left_out_note(const InputRows& rows, const std::string& list) {
  if (rows.left_out.empty()) return "";
  const LeftOut& first = rows.left_out.begin()->second;
  return sentence("embed: ", rows.left_out.size(), " of ", rows.rows, " rows left out, first: ", first.row, ": ",
                  first.fault, list.empty() ? "" : "; all are in " + list);
}

std::string bare_tokens_note(const InputRows& rows, const std::string& token) {
  if (token.empty()) return "";
  const auto count = std::ranges::count_if(rows.inputs, [&](const EncoderInput& input) {
    return input.images.empty() && input.text.find(token) != input.text.npos;
  });
  if (count == 0) return "";
  return sentence("embed: ", count, count == 1 ? " row has" : " rows have",
                  " an image token and no picture; the token is read as a word");
}

}  // namespace

Exit run_embed(const Command& command, const Arguments& arguments) {
  ModelOptions model;
  std::string input, image_dir, output, embedding_cache, prompt = "raw", bad_rows = "error";
  int64_t batch_size = 32;
  Device device;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose,
                   "embed --model_name runs/demo/model --input rows.jsonl --output rows.npy");
  model.fields(line);
  line.section("Input and output");
  line("input", input, "lines {\"text\": ..., \"image\": path or [paths], \"instruction\": ...}");
  line("prompt", prompt,
       "raw: the text is the prompt, with an image token for each picture (CLIP: none); vlm2vec-v1, vlm2vec-v2: built "
       "as the official code does");
  line("image_dir", image_dir, "joined before relative picture paths (default: the folder of the input)");
  line("output", output,
       "NumPy file to write: f32 [lines, dimensions], rows of length 1; FILE.json beside it says how (for search)");
  line("batch_size", batch_size, "lines embedded at a time; results do not depend on it");
  line("embedding_cache", embedding_cache,
       "folder that keeps vectors for later: those of the same model, options, text and pictures are not made again");
  line("bad_rows", bad_rows,
       "a row that cannot be used (unreadable picture, neither text nor image, image tokens that do not fit): error "
       "stops, skip leaves it out and lists it in OUTPUT.skipped_rows.jsonl");
  line.require({"model_name", "input", "output"});
  line.threads();
  line.device(device);
  line.quiet(quiet);
  line.json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (batch_size < 1) fail(Exit::usage, "embed: --batch_size: got ", batch_size, ", expected at least 1");
  check_output_file(output, kNpyFile, {input});
  if (!fs::exists(output) || fs::is_regular_file(output)) {
    check_output_file(output + ".json", kOrigin, {input});
    check_output_file(output + kSkippedRows, {"a list of skipped rows", "{\"row\":"}, {input});
  }
  fs::path there = image_dir;  // or the archive that it is in
  while (there.has_relative_path() && !fs::exists(there)) there = there.parent_path();
  if (there != image_dir && !fs::is_regular_file(there))
    fail(Exit::data, image_dir, ": no such folder or archive; --image_dir names it");
  if (image_dir.empty()) image_dir = fs::path(input).parent_path();
  build_prompt(prompt, {}, "");  // a wrong style is said before the model is loaded
  const bool skip = skips_bad_rows("embed", bad_rows);
  VectorOrigin origin{model, "", prompt};
  if (fs::is_regular_file(input))  // what comes through a pipe cannot be read again
    origin.input = input, origin.image_dir = image_dir, origin.input_sha256 = hash_of_file(input);
  Embedder embedder(model, embedding_cache, device, quiet);
  origin.model.image_positions = embedder.encoder().processor.image_positions();
  origin.model_sha256 = hex(embedder.model_hash().digest());
  const std::string& token = embedder.encoder().image_token();
  InputRows rows = read_inputs(input, image_dir, prompt, token, bad_row(skip));
  Progress progress("embed", int64_t(rows.inputs.size()), quiet);
  progress.note(bare_tokens_note(rows, token));
  const auto update = [&](int64_t done) {
    if (interrupted() && done < int64_t(rows.inputs.size()))
      fail(interrupt_exit(), "embed: interrupted after ", done, " of ", rows.inputs.size(), " rows; ",
           embedder.how_to_go_on());
    progress.update(done);
  };
  const InterruptGuard guard;  // a signal waits until what is being written is whole
  const EmbeddedRows embedded =
      reading_rows(bad_rows, [&] { return embedder.embed(rows.inputs, batch_size, update, skip); });
  embedder.model_hash().require_unchanged();
  const Tensor vectors = without_faults(rows, embedded);
  std::vector<LeftOut> left_out;
  for (const auto& [number, side] : rows.left_out) origin.skipped_rows.push_back(number), left_out.push_back(side);
  fs::remove(output + ".json");  // of earlier vectors
  write_npy(output, vectors);
  std::string list;
  if (fs::is_regular_file(output)) {  // not a pipe or a device
    list = output + kSkippedRows;
    write_left_out(list, left_out);
    write_origin(output, origin, vectors);
  }
  progress.note(embedder.encoder().processor.picture_note());
  progress.note(embedder.cache_note());
  progress.note(embedded.cut.note(model.max_len));
  progress.note(left_out_note(rows, list));
  if (json)
    std::cout << nlohmann::ordered_json{{"rows", vectors.rows()},
                                        {"skipped", left_out.size()},
                                        {"cut", embedded.cut.cut},
                                        {"dimensions", embedder.encoder().dim()},
                                        {"precision", model.precision},
                                        {"seconds", progress.seconds()},
                                        {"output", output}}
              << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
