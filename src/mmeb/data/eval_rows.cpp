// Reads the rows of a test set <Set>/test.jsonl in both published layouts, which give the same texts:
//   MMEB-eval           "qry_text", "qry_img_path", "tgt_text": […], "tgt_img_path": […] (old: "tgt_text": "")
//   MMEB_Test_Instruct  "qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text": […], "tgt_img_path": […],
//                       with separate instructions. They are joined as in VLM2Vec V2, so picture targets of picture
//                       queries (CIRR, NIGHTS, FashionIQ) end without V1's line break.
#include <nlohmann/json.hpp>

#include "io/json_lines.h"
#include "io/text.h"
#include "mmeb/data/dataset.h"
#include "mmeb/data/row_files.h"
#include "mmeb/data/row_pictures.h"
#include "mmeb/registry/registry.h"
#include "vlm/prompt.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Row = nlohmann::ordered_json;

std::string replace_all(std::string text, const std::string& old, const std::string& with) {
  for (size_t at = 0; (at = text.find(old, at)) != text.npos; at += with.size()) text.replace(at, old.size(), with);
  return text;
}

// Joins "<|image_1|>\nInstruction" and " words" without a blank before a line break.
std::string with_pictures(size_t pictures, const std::string& instruction, const std::string& words) {
  std::string tokens;
  for (size_t i = 1; i <= pictures; ++i) tokens += sentence("<|image_", i, "|> ");
  return replace_all(tokens + instruction + (words.empty() ? "" : " " + words), " \n", "\n");
}

std::string without_tokens(const std::string& instruction) { return place_pictures(instruction, 0, "").text; }

std::string join_query(const std::string& set, const std::string& instruction, const Side& query) {
  if (query.images.empty()) return instruction + " " + query.text + (set == "VisDial" ? "\n\n" : "\n");
  return with_pictures(query.images.size(), "\n" + strip(without_tokens(instruction)), query.text) + "\n";
}

// Returns the caption of a picture candidate, a part of its name: the words after the instruction.
std::string caption(const std::string& text, const RegisteredSet* set) {
  return strip(set ? own_words(text, set->target) : text, "\"");
}

std::string name_of(const Side& query, const Side& candidate, const std::string& caption) {
  if (candidate.images.empty()) return candidate.text;
  return query.images.empty() ? candidate.image() : candidate.image() + ":" + caption;
}

EvalRow stored_row(Side query, std::vector<Side> targets, const RegisteredSet* set) {
  EvalRow read{std::move(query), std::move(targets), {}};
  for (const Side& target : read.candidates)
    read.names.push_back(name_of(read.query, target, caption(target.text, set)));
  return read;
}

EvalRow instructed_row(const Row& row, Side query, std::vector<Side> targets, const std::string& set) {
  EvalRow read{std::move(query), std::move(targets), {}};
  read.query.text = join_query(set, text_field(row, "qry_inst"), read.query);
  const bool captions = !strip(read.candidates[0].text).empty();
  for (Side& target : read.candidates) {
    const std::string stored = target.text;
    if (!target.images.empty())
      target.text =
          with_pictures(target.images.size(), without_tokens(text_field(row, "tgt_inst")), captions ? stored : "") +
          (captions || read.query.images.empty() ? "\n" : "");
    read.names.push_back(name_of(read.query, target, strip(stored, "\"")));
  }
  return read;
}

// Returns a row's targets, the positive first. In MMEB's older files, "tgt_text": "" means an empty text per picture.
std::vector<Side> targets_of(const Row& row, bool instructed, const Pictures& pictures) {
  std::vector<Side> targets;
  if (row.contains("tgt_text") && row["tgt_text"] == "") {
    for (auto& images : picture_sides_field(row, "tgt_img_path", pictures)) targets.emplace_back("", std::move(images));
  } else if (instructed && !row.contains("tgt_img_path")) {  // text targets may omit pictures
    for (const std::string& text : text_list_field(row, "tgt_text")) targets.emplace_back(text);
  } else {
    if (!field(row, "tgt_text").is_array()) text_list_field(row, "tgt_text");  // throws: a list is expected
    targets = sides_field(row, "tgt_text", "tgt_img_path", pictures);
  }
  if (targets.empty()) fail(Exit::data, "tgt_text and tgt_img_path have no items; expected at least one target");
  return targets;
}

}  // namespace

std::vector<EvalRow> read_eval_rows(const fs::path& file, int64_t limit, const Pictures& pictures) {
  std::vector<EvalRow> rows;
  read_eval_rows(
      file, [&](const EvalRow& row) { rows.push_back(row); }, limit, pictures);
  return rows;
}

void read_eval_rows(const fs::path& file, const std::function<void(const EvalRow& row)>& use, int64_t limit,
                    const Pictures& pictures, const RowFault& fault) {
  const std::string name = file.parent_path().filename().string();
  const RegisteredSet* set = registered(name);
  bool empty = true;
  const auto keep = [&](const Error& error) { empty = false, fault(error); };
  read_rows(
      file, {"qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text", "tgt_img_path"},
      [&](const Row& row) {
        const bool instructed = row.contains("qry_inst");
        Side query(text_field(row, "qry_text"), pictures_field(row, "qry_img_path", pictures));
        std::vector<Side> targets = targets_of(row, instructed, pictures);
        empty = false;
        use(instructed ? instructed_row(row, std::move(query), std::move(targets), name)
                       : stored_row(std::move(query), std::move(targets), set));
      },
      limit, fault ? keep : RowFault());
  if (empty) fail(Exit::data, file.string(), ": has no rows");
}

}  // namespace vlm2vec
