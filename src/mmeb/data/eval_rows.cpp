// The rows of a test set <Set>/test.jsonl, in both layouts that are published; both give the same texts:
//   MMEB-eval           "qry_text", "qry_img_path", "tgt_text": […], "tgt_img_path": […] (old: "tgt_text": "")
//   MMEB_Test_Instruct  "qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text": […], "tgt_img_path": […], the
//                       instructions apart. They are joined as VLM2Vec V2 does it, so targets that are pictures of
//                       picture queries (CIRR, NIGHTS, FashionIQ) end without V1's line break.
#include <nlohmann/json.hpp>

#include "mmeb/data/dataset.h"
#include "mmeb/data/row_files.h"
#include "mmeb/registry/registry.h"
#include "tensor/io/json_lines.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Row = nlohmann::ordered_json;

const std::string kToken = "<|image_1|>";

std::string replace_all(std::string text, const std::string& old, const std::string& with) {
  for (size_t at = 0; (at = text.find(old, at)) != text.npos; at += with.size()) text.replace(at, old.size(), with);
  return text;
}

std::string strip(const std::string& text, const char* characters = " \t\n\r\f\v") {
  const size_t begin = text.find_first_not_of(characters);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(characters) + 1 - begin);
}

// "<|image_1|>\nInstruction" and " words", without the blank before a line break that joining leaves.
std::string with_picture(const std::string& instruction, const std::string& words) {
  return replace_all(kToken + " " + instruction + (words.empty() ? "" : " " + words), " \n", "\n");
}

std::string join_query(const std::string& set, const std::string& instruction, const std::string& words, bool picture) {
  if (!picture) return instruction + " " + words + (set == "VisDial" ? "\n\n" : "\n");
  return with_picture("\n" + strip(replace_all(instruction, kToken, "")), words) + "\n";
}

// The caption of a candidate that is a picture, which is part of its name: what the text adds to the instruction.
std::string caption(const std::string& text, const RegisteredSet* set) {
  return strip(set ? own_words(text, set->target) : text, "\"");
}

std::string name_of(const Side& query, const Side& candidate, const std::string& caption) {
  if (candidate.image.empty()) return candidate.text;
  return query.image.empty() ? candidate.image : candidate.image + ":" + caption;
}

EvalRow stored_row(const Row& row, const std::vector<std::string>& texts, const std::vector<std::string>& images,
                   const RegisteredSet* set) {
  EvalRow read{{text_field(row, "qry_text"), text_field(row, "qry_img_path")}, {}, {}};
  for (size_t i = 0; i < texts.size(); ++i) {
    read.candidates.push_back({texts[i], images[i]});
    read.names.push_back(name_of(read.query, read.candidates[i], caption(texts[i], set)));
  }
  return read;
}

EvalRow instructed_row(const Row& row, const std::vector<std::string>& texts, const std::vector<std::string>& images,
                       const std::string& set) {
  const std::string image = text_field(row, "qry_img_path");
  EvalRow read{
      {join_query(set, text_field(row, "qry_inst"), text_field(row, "qry_text"), !image.empty()), image}, {}, {}};
  const bool captions = !strip(texts[0]).empty();
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string text = texts[i];
    if (!images[i].empty()) {
      const std::string instruction = replace_all(text_field(row, "tgt_inst"), kToken, "");
      text = with_picture(instruction, captions ? texts[i] : "") + (captions || image.empty() ? "\n" : "");
    }
    read.candidates.push_back({text, images[i]});
    read.names.push_back(name_of(read.query, read.candidates[i], strip(texts[i], "\"")));
  }
  return read;
}

}  // namespace

std::vector<EvalRow> read_eval_rows(const fs::path& file, int64_t limit) {
  std::vector<EvalRow> rows;
  read_eval_rows(
      file, [&](const EvalRow& row) { rows.push_back(row); }, limit);
  return rows;
}

void read_eval_rows(const fs::path& file, const std::function<void(const EvalRow& row)>& use, int64_t limit) {
  const std::string name = file.parent_path().filename().string();
  const RegisteredSet* set = registered(name);
  bool empty = true;
  read_rows(
      file, {"qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text", "tgt_img_path"},
      [&](const Row& stored) {
        const Row row = without_null_pictures(stored);
        const bool instructed = row.contains("qry_inst");
        const bool old = row.contains("tgt_text") && row["tgt_text"] == "";  // as many empty texts as pictures
        std::vector<std::string> texts, images;
        if (!old) texts = text_list_field(row, "tgt_text");
        // MMEB_Test_Instruct need not name the pictures of targets that are texts
        if (!instructed || row.contains("tgt_img_path")) images = text_list_field(row, "tgt_img_path");
        if (old) texts.resize(images.size());
        if (instructed && images.empty()) images.resize(texts.size());
        if (texts.size() != images.size() || texts.empty())
          fail(Exit::data, texts.size(), " target texts and ", images.size(),
               " target pictures; expected two lists of one length, at least 1");
        empty = false;
        use(instructed ? instructed_row(row, texts, images, name) : stored_row(row, texts, images, set));
      },
      limit);
  if (empty) fail(Exit::data, file.string(), ": has no rows");
}

}  // namespace vlm2vec
