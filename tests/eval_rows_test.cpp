// Both published layouts of test rows give the same texts, and the names by which VLM2Vec V2 tells candidates apart.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "mmeb/data/dataset.h"
#include "mmeb/registry/registry.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

std::vector<EvalRow> rows_of(const std::string& set, const json& row) {
  const TemporaryFolder folder("rows");
  std::filesystem::create_directories(folder / set);
  std::ofstream(folder / set / "test.jsonl") << row.dump() << "\n";
  return read_eval_rows(folder / set / "test.jsonl");
}

// A template filled with words, and the same apart as MMEB_Test_Instruct has it: the instruction without the line break
// at its end, the words with the quotes around them.
struct Text {
  std::string whole, instruction, words;
};
Text filled(const std::string& form, const std::string& own) {
  const size_t open = form.find('{'), close = form.find('}'), end = form.find_last_not_of('\n');
  if (open == form.npos) return {form, form.substr(0, end + 1), ""};
  const std::string whole = form.substr(0, open) + own + form.substr(close + 1);
  if (open == 0) return {whole, "", own};
  const size_t space = form.rfind(' ', open);
  const std::string stem = whole.substr(0, whole.find_last_not_of('\n') + 1);
  return {whole, form.substr(0, space), stem.substr(space + 1)};
}

TEST(EvalRows, instructions_apart_give_the_same_texts) {
  const std::set<std::string> without_line_break = {"CIRR", "FashionIQ", "NIGHTS"};  // as V2 evaluates them
  for (const RegisteredSet& set : registered_sets()) {
    SCOPED_TRACE(set.name);
    const Text query = filled(set.query, "some words"), first = filled(set.target, "right one"),
               second = filled(set.target, "wrong one");
    const bool pictures = set.target_type != "T", picture = set.query_type != "T";
    const json images = pictures ? json{"a.jpg", "b.jpg"} : json{"", ""};
    const json stored = {{"qry_text", query.whole},
                         {"qry_img_path", picture ? "q.jpg" : ""},
                         {"tgt_text", {first.whole, second.whole}},
                         {"tgt_img_path", images}};
    json apart = {{"qry_inst", query.instruction},           {"qry_text", query.words},
                  {"qry_img_path", picture ? "q.jpg" : ""},  {"tgt_inst", first.instruction},
                  {"tgt_text", {first.words, second.words}}, {"tgt_img_path", images}};
    if (!pictures) apart.erase("tgt_inst"), apart.erase("tgt_img_path");
    std::vector<EvalRow> a = rows_of(set.name, stored), b = rows_of(set.name, apart);
    EXPECT_EQ(a[0].query.text, b[0].query.text);
    EXPECT_EQ(a[0].query.images, b[0].query.images);
    for (size_t i = 0; i < 2; ++i) {
      const std::string end = without_line_break.contains(set.name) ? "\n" : "";
      EXPECT_EQ(a[0].candidates[i].text, b[0].candidates[i].text + end);
      EXPECT_EQ(a[0].candidates[i].images, b[0].candidates[i].images);
    }
    EXPECT_EQ(a[0].names, b[0].names);
  }
}

TEST(EvalRows, names_of_candidates) {
  const auto names = [](const std::string& set) {
    const RegisteredSet& known = *registered(set);
    const json row = {{"qry_text", filled(known.query, "w").whole},
                      {"qry_img_path", known.query_type == "T" ? "" : "q.jpg"},
                      {"tgt_text", {filled(known.target, "right one").whole}},
                      {"tgt_img_path", {known.target_type == "T" ? "" : "a.jpg"}}};
    return rows_of(set, row)[0].names[0];
  };
  EXPECT_EQ(names("GQA"), "right one");
  EXPECT_EQ(names("MSCOCO_i2t"), "right one");
  EXPECT_EQ(names("WebQA"), "a.jpg");
  EXPECT_EQ(names("VisDial"), "a.jpg");
  EXPECT_EQ(names("MSCOCO"), "a.jpg:");
  EXPECT_EQ(names("RefCOCO-Matching"), "a.jpg:right one");
  EXPECT_EQ(names("OVEN"), "a.jpg:right one");
}

TEST(EvalRows, old_form_and_errors) {
  json row = {{"qry_text", "q"}, {"qry_img_path", ""}, {"tgt_text", ""}, {"tgt_img_path", {"a.jpg", "b.jpg"}}};
  const EvalRow old = rows_of("Set", row)[0];
  EXPECT_EQ(old.candidates, (std::vector<Side>{{"", "a.jpg"}, {"", "b.jpg"}}));
  row["tgt_text"] = {"x"};
  expect_error(Exit::data, "tgt_text has 1 item and tgt_img_path 2", [&] { rows_of("Set", row); });
  row["tgt_text"] = "x";
  expect_error(Exit::data, "tgt_text is", [&] { rows_of("Set", row); });
  row["tgt_text"] = {"x", "y"};
  row["qry_inst"] = "Find it.";
  expect_error(Exit::data, "tgt_inst", [&] { rows_of("Set", row); });
}

}  // namespace
}  // namespace vlm2vec
