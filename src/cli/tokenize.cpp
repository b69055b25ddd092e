#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "io/hub.h"
#include "io/json_lines.h"
#include "tensor/parallel.h"
#include "vlm/families/family.h"

namespace vlm2vec {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

// Prints the tokenised prompt, quoted as in JSON, then its ids and pieces.
void print_text(const Tokenizer& tokenizer, const std::string& prompt, const Ids& ids, bool json) {
  Json pieces = Json::array();
  for (const int32_t id : ids) pieces.push_back(tokenizer.token(id));
  if (json) {
    std::cout << Json{{"prompt", prompt}, {"ids", ids}, {"pieces", pieces}} << '\n';
    return;
  }
  std::cout << "prompt\t" << Json(prompt) << '\n';
  for (size_t i = 0; i < ids.size(); ++i) std::cout << ids[i] << '\t' << pieces[i].get<std::string>() << '\n';
}

void print_file(const Tokenizer& tokenizer, const std::string& file, int64_t max_len) {
  std::vector<std::string> texts;
  read_json_lines(file, [&](const Json& row) { texts.push_back(text_field(row, "text")); });
  std::vector<Ids> ids(texts.size());
  parallel_for(int64_t(texts.size()), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ids[size_t(i)] = tokenizer.encode_with_ends(texts[size_t(i)], max_len);
  });
  for (const Ids& row : ids) std::cout << Json{{"ids", row}} << '\n';
}

}  // namespace

Exit run_tokenize(const Command& command, const Arguments& arguments) {
  std::string model_name, input, text;
  int64_t max_len = 0;
  bool json = false;
  CommandLine line(command.name, command.purpose,
                   "tokenize --model_name runs/demo/init --text \"Find a similar image.\"");
  line("model_name", model_name,
       "<DIR> folder with tokenizer.json, or older files (vocab.json, tokenizer.model, spiece.model, vocab.txt)");
  line("input", input, "<FILE> file of lines {\"text\": ...}; prints lines {\"ids\": [...]}");
  line("text", text, "text; prints it quoted, then an id and its piece per line, bytes in GPT-2's alphabet");
  line("max_len", max_len, "most ids of a text, with those around it; a longer text loses its last ones (0: no limit)");
  line.require({"model_name"});
  line.threads().json(json);
  if (!line.parse(arguments)) return Exit::ok;

  if (input.empty() == text.empty()) fail(Exit::usage, "tokenize: one of --input and --text is needed, but not both");
  if (max_len < 0) fail(Exit::usage, "tokenize: --max_len: got ", max_len, ", expected 0 or more");
  require_folder(model_name, "a tokenizer");
  const Tokenizer tokenizer = Tokenizer::load(model_name, text_cleaning_in(model_name));
  if (text.empty()) print_file(tokenizer, input, max_len);
  else print_text(tokenizer, text, tokenizer.encode_with_ends(text, max_len), json);
  return Exit::ok;
}

}  // namespace vlm2vec
