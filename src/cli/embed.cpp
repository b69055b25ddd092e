#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "io/interrupt.h"
#include "io/progress.h"
#include "io/sha256.h"
#include "mmeb/data/input_rows.h"
#include "mmeb/data/outputs.h"
#include "mmeb/evaluation/embedding_cache.h"
#include "show/vector_index.h"
#include "tensor/tensor_files.h"
#include "vlm/model_hash.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSkippedRows = ".skipped_rows.jsonl";  // follows the name of the vectors
// The first of its keys in alphabetical order.
constexpr FileKind kOrigin = {"what embed writes about its vectors", "{\n  \"absolute\": "};

// Moves the vectors of readable rows together and lists the other rows as left out.
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
                  first.fault, list.empty() ? "" : "; all are listed in " + list);
}

std::string bare_tokens_note(const InputRows& rows, const std::string& token) {
  if (token.empty()) return "";
  const auto count = std::ranges::count_if(rows.inputs, [&](const EncoderInput& input) {
    return input.images.empty() && input.text.find(token) != input.text.npos;
  });
  if (count == 0) return "";
  return sentence("embed: ", count, count == 1 ? " row has" : " rows have",
                  " an image token but no picture; the token is read as a word");
}

struct EmbedOptions {
  ModelOptions model;
  std::string input, image_dir, output, embedding_cache, prompt = "raw", bad_rows = "error";
  int64_t batch_size = 32;
  Device device;
  bool quiet = false, json = false;
};

void declare(CommandLine& line, EmbedOptions& o) {
  o.model.fields(line);
  line.section("Input and output");
  line("input", o.input, "<FILE> file of lines {\"text\": ..., \"image\": path or [paths], \"instruction\": ...}");
  line("prompt", o.prompt, prompt_help());
  line("image_dir", o.image_dir, "<PATH> joined before relative picture paths (default: the folder of the input)");
  line("output", o.output,
       "<FILE> NumPy file to write: f32 [lines, dimensions], rows of length 1; FILE.json beside it describes them for "
       "search");
  line("batch_size", o.batch_size, "lines embedded at a time; results do not depend on it");
  line("embedding_cache", o.embedding_cache,
       "<DIR> folder that keeps vectors for later runs with the same model, options, text and pictures");
  line("bad_rows", o.bad_rows,
       "<error|skip> rows that cannot be used: unreadable picture, neither text nor image, image tokens that do not "
       "match. error: stop there. skip: leave them out and list them in OUTPUT.skipped_rows.jsonl");
  line.require({"model_name", "input", "output"});
  line.threads().device(o.device).quiet(o.quiet).json(o.json);
}

void check_options(const EmbedOptions& o) {
  if (o.batch_size < 1) fail(Exit::usage, "embed: --batch_size: got ", o.batch_size, ", expected at least 1");
  check_output_file(o.output, kNpyFile, {o.input});
  if (!fs::exists(o.output) || fs::is_regular_file(o.output)) {
    check_output_file(o.output + ".json", kOrigin, {o.input});
    check_output_file(o.output + kSkippedRows, {"a list of skipped rows", "{\"row\":"}, {o.input});
  }
  fs::path there = o.image_dir;  // or its archive
  while (there.has_relative_path() && !fs::exists(there)) there = there.parent_path();
  if (there != o.image_dir && !fs::is_regular_file(there))
    fail(Exit::data, o.image_dir, ": no such folder or archive (--image_dir)");
  prompt_style(all_prompt_styles(), o.prompt);  // for its error, before the model is loaded
}

}  // namespace

Exit run_embed(const Command& command, const Arguments& arguments) {
  EmbedOptions o;
  CommandLine line(command.name, command.purpose,
                   "embed --model_name runs/demo/model --input rows.jsonl --output rows.npy");
  declare(line, o);
  if (!line.parse(arguments)) return Exit::ok;

  check_options(o);
  if (o.image_dir.empty()) o.image_dir = fs::path(o.input).parent_path();
  const bool skip = skips_bad_rows("embed", o.bad_rows);
  VectorOrigin origin{o.model, "", o.prompt, origin_of(o.device)};
  if (fs::is_regular_file(o.input))  // a pipe cannot be read again
    origin.input = o.input, origin.image_dir = o.image_dir, origin.input_sha256 = hash_of_file(o.input);
  Embedder embedder(o.model, o.embedding_cache, o.device, o.quiet);
  origin.model.image_positions = embedder.encoder().processor.image_positions();
  origin.model_sha256 = hex(embedder.model_hash().digest());
  const std::string& token = embedder.encoder().image_token();
  const PromptStyle& style = prompt_style(embedder.encoder().family, o.prompt);
  InputRows rows = read_inputs(o.input, o.image_dir, style, token, bad_row(skip));
  Progress progress("embed", int64_t(rows.inputs.size()), o.quiet);
  progress.note(bare_tokens_note(rows, token));
  const auto update = [&](int64_t done) {
    if (interrupted() && done < int64_t(rows.inputs.size()))
      fail(interrupt_exit(), "embed: interrupted after ", done, " of ", rows.inputs.size(), " rows; ",
           embedder.how_to_go_on());
    progress.update(done);
  };
  const InterruptGuard guard;  // a signal waits until all files under way are complete
  const EmbeddedRows embedded =
      reading_rows(o.bad_rows, [&] { return embedder.embed(rows.inputs, o.batch_size, update, skip); });
  embedder.model_hash().require_unchanged();
  const Tensor vectors = without_faults(rows, embedded);
  std::vector<LeftOut> left_out;
  for (const auto& [number, side] : rows.left_out) origin.skipped_rows.push_back(number), left_out.push_back(side);
  fs::remove(o.output + ".json");  // describes earlier vectors
  write_npy(o.output, vectors);
  std::string list;
  if (fs::is_regular_file(o.output)) {  // not a pipe or a device
    list = o.output + kSkippedRows;
    write_left_out(list, left_out);
    write_origin(o.output, origin, vectors);
  }
  progress.note(embedder.encoder().processor.picture_note());
  progress.note(embedder.cache_note());
  progress.note(embedded.cut.note(o.model.max_len));
  progress.note(left_out_note(rows, list));
  if (o.json)
    std::cout << nlohmann::ordered_json{{"rows", vectors.rows()},
                                        {"skipped", left_out.size()},
                                        {"cut", embedded.cut.cut},
                                        {"dimensions", embedder.encoder().dim()},
                                        {"precision", o.model.precision},
                                        {"seconds", progress.seconds()},
                                        {"output", o.output}}
              << '\n';
  return Exit::ok;
}

}  // namespace vlm2vec
