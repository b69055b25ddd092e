#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "io/files.h"
#include "io/sha256.h"
#include "mmeb/data/outputs.h"
#include "mmeb/data/row_pictures.h"
#include "show/search_page.h"
#include "tensor/ops.h"
#include "vlm/model.h"
#include "vlm/model_hash.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

struct SearchOptions {
  std::string index, text, instruction, prompt, input, image_dir, queries, model_name, adapter, output;
  std::vector<std::string> images;
  int64_t top = 5, dim = 0;
  Device device;
  bool device_given = false;
  bool quiet = false, json = false;
};

void declare(CommandLine& line, SearchOptions& o) {
  line("index", o.index, "<FILE> vectors of embed; FILE.json beside them gives model and options");
  line("text", o.text, "text of the query");
  line("image", o.images, "<FILE> pictures of the query");
  line("instruction", o.instruction, "instruction of the query (not in a raw prompt)");
  line("prompt", o.prompt, std::string(prompt_help()) + " (default: the index's style)");
  line("input", o.input, "<FILE> file of queries instead of one query, with lines as for embed");
  line("image_dir", o.image_dir, "<PATH> joined before picture paths of the input (default: the folder of the input)");
  line("queries", o.queries,
       "<FILE> vectors of queries instead of one query, from embed with the same model and options");
  line("model_name", o.model_name, "<DIR> folder of the index's model, if it has moved");
  line("adapter", o.adapter, "<DIR> folder of the index's adapter, if it has moved");
  line("top", o.top, "rows to find for each query");
  line("dim", o.dim, "compare only the first numbers of all vectors, normalised again (0: all)");
  line("output", o.output, "<FILE> HTML page to write, with pictures, instead of the table");
  line.require({"index"});
  line.collect({"image"});
  line.threads().device(o.device).quiet(o.quiet);
  line("json", o.json, "print each row found as one line of JSON");
}

void check_options(const SearchOptions& o) {
  const bool asks = !o.text.empty() || !o.images.empty() || !o.instruction.empty();
  if (asks + !o.input.empty() + !o.queries.empty() != 1)
    fail(Exit::usage, "search: give one query (--text, --image, --instruction), a file of them (--input) or their ",
         "vectors (--queries)");
  if (o.input.empty() && !o.image_dir.empty()) fail(Exit::usage, "search: --image_dir has no effect without --input");
  const bool no_model = o.prompt.empty() && o.model_name.empty() && o.adapter.empty() && !o.device_given;
  if (!o.queries.empty() && !no_model)
    fail(Exit::usage,
         "search: --prompt, --model_name, --adapter and --device have no effect with --queries, which are vectors");
  if (o.top < 1) fail(Exit::usage, "search: --top: got ", o.top, ", expected 1 or more");
  if (!o.output.empty()) check_output_file(o.output, kHtmlPage, {o.index, o.input, o.queries});
  style_named(all_prompt_styles(), o.prompt);  // for its error, before the index is read
}

// Loads the model that made the index, from its old path or from the path in the options.
std::unique_ptr<Encoder> load_model_of(const VectorIndex& index, const SearchOptions& o) {
  ModelOptions model = index.origin.model;
  model.adapter_norms = false;
  if (!o.model_name.empty()) model.model_name = o.model_name;
  if (!o.adapter.empty()) model.adapter = o.adapter;
  for (const auto& [folder, option] : {std::pair(model.model_name, "--model_name"), {model.adapter, "--adapter"}})
    if (!folder.empty() && !fs::is_directory(folder))
      fail(Exit::data, folder, ": no such folder, but ", index.file.string(),
           " was made with it; give its new path with ", option);
  if (hex(ModelHash(model.model_name, model.adapter).digest()) != index.origin.model_sha256)
    fail(Exit::data, index.file.string(), ": was made by another model than ", model.model_name,
         model.adapter.empty() ? "" : " with " + model.adapter, "; search with the index's model, or embed again");
  return load_model(model, o.device, o.quiet);
}

std::vector<EncoderInput> read_queries(const VectorIndex& index, const SearchOptions& o, const Encoder& encoder) {
  const std::string name = o.prompt.empty() ? index.origin.prompt : o.prompt, token = encoder.image_token();
  const PromptStyle& style = prompt_style(encoder.family, name);
  if (!o.input.empty()) return read_inputs(o.input, o.image_dir, style, token).inputs;
  if (style.instructed == Instructed::none && !o.instruction.empty())
    fail(Exit::usage, "search: the prompt ", name, " has no --instruction; put it into --text",
         name == "raw" ? sentence(", or use ", kBuiltPrompt) : "");
  const Pictures here;
  InputRow parts{o.text, o.instruction};
  for (const std::string& image : o.images) parts.images.push_back(picture_name(image, "--image", here));
  EncoderInput query = encoder_input(parts, here, style, token);
  query.row = "the query";
  if (const std::string fault = prompt_fault(query.text, query.images.size(), token, true); !fault.empty())
    fail(Exit::data, "search: the query: ", fault);
  return {query};
}

// Returns the first numbers of each row, with length 1.
Tensor cut_to(int64_t dim, const Tensor& vectors, const fs::path& file) {
  if (dim == 0) return vectors;
  if (dim < 0 || dim > vectors.columns())
    fail(Exit::usage, "search: --dim ", dim, ": the vectors of ", file.string(), " have ", vectors.columns(),
         " numbers; give 1 to ", vectors.columns());
  Tensor first({vectors.rows(), dim}, DType::f32, Device::cpu);
  for (int64_t row = 0; row < vectors.rows(); ++row)
    std::copy_n(vectors.data<float>() + row * vectors.columns(), dim, first.data<float>() + row * dim);
  return l2_normalize(first, 1e-12).y;
}

// Models are trained with an instruction before every query; without it scores are worse, but nothing shows this.
std::string instruction_note(const VectorIndex& index, const SearchOptions& o) {
  const std::vector<PromptStyle> styles = all_prompt_styles();
  const PromptStyle& style = prompt_style(styles, o.prompt.empty() ? index.origin.prompt : o.prompt);
  if (style.instructed == Instructed::none || !o.input.empty() || !o.instruction.empty()) return "";
  return "search: the query has no --instruction; if the model was trained with one before every query (such as \"Find "
         "a picture of\"), results are worse without it";
}

}  // namespace

Exit run_search(const Command& command, const Arguments& arguments) {
  SearchOptions o;
  CommandLine line(command.name, command.purpose, "search --index photos.npy --text \"a red car\" --top 3");
  declare(line, o);
  if (!line.parse(arguments)) return Exit::ok;
  o.device_given = line.device_given();
  check_options(o);

  const VectorIndex index = open_index(o.index);
  const Tensor shorter = cut_to(o.dim, index.vectors, index.file);
  std::vector<SearchResult> results;
  Tensor queries;
  if (o.queries.empty()) {
    const auto encoder = load_model_of(index, o);
    const std::vector<EncoderInput> inputs = read_queries(index, o, *encoder);
    const Embedded embedded = embed_rows(*encoder, inputs, 32);
    queries = embedded.vectors;
    CutTexts cut;
    cut.add(inputs, embedded.cut);
    line.say(encoder->processor.picture_note());
    line.say(cut.note(index.origin.model.max_len));
    line.say(instruction_note(index, o));
    for (const EncoderInput& input : inputs) results.push_back({input.text, input.images, {}});
  } else {
    const VectorIndex given = open_index(o.queries);
    require_same_model(index, given);
    queries = given.vectors;
    for (int64_t i = 0; i < queries.rows(); ++i)
      results.push_back({sentence("row ", given.input_row(i) + 1, " of ", o.queries), {}, {}});
  }
  auto hits = nearest_rows(cut_to(o.dim, queries, index.file), shorter, o.top);
  std::vector<int64_t> numbers;
  for (auto& list : hits)
    for (Hit& hit : list) hit.row = index.input_row(hit.row), numbers.push_back(hit.row);
  const Pictures pictures(index.origin.image_dir);
  const std::vector<InputRow> rows = rows_of(index, numbers, pictures);
  size_t next = 0;
  for (size_t q = 0; q < hits.size(); ++q)
    for (const Hit& hit : hits[q]) results[q].found.push_back({hit, rows.empty() ? InputRow{} : rows[next++]});
  if (!o.output.empty())
    write_atomically(o.output, [&](std::ostream& page) { write_search_page(page, results, o.index, pictures); });
  if (o.json) std::cout << search_json(results);
  else if (o.output.empty() && !o.quiet) std::cout << search_table(results, pictures);
  else if (!o.quiet) std::cout << "The page: " << o.output << " (open it in a browser)\n";
  return Exit::ok;
}

}  // namespace vlm2vec
