// Rows as JSON lines: what counts as a row, and errors that name the place and the cure.
#include "io/json_lines.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/files.h"
#include "mmeb/data/dataset.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

class JsonLines : public testing::Test {
 protected:
  std::vector<std::string> read(const std::string& text, int64_t limit = 0) const {
    write_text(file_, text);
    std::vector<std::string> texts;
    read_json_lines(
        file_, [&](const nlohmann::ordered_json& row) { texts.push_back(text_field(row, "a")); }, limit);
    return texts;
  }
  void refused(const std::string& text, const std::string& message) const {
    expect_error(Exit::data, message, [&] { read(text); });
  }
  const TemporaryFolder folder_{"json-lines"};
  const std::filesystem::path file_ = folder_.path() / "rows.jsonl";
};

TEST_F(JsonLines, BlankLinesAreNoRowsAndLinesMayEndWithCrLf) {
  const std::string text = "\r\n{\"a\": \"x\"}\r\n\n{\"a\": \"y\"}\n{\"a\": \"z\"}";
  EXPECT_EQ(read(text), (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(read(text, 2), (std::vector<std::string>{"x", "y"}));
}

TEST_F(JsonLines, ErrorsNameFileLineAndWhatCame) {
  refused("{\"a\": \"x\"}\n\n{\"a\": null}\n", "rows.jsonl:3: a is null, expected a string");
  refused("{\"a\": [\"x\"]}", "rows.jsonl:1: a is of type array, expected a string");
  refused("{\"b\": 1, \"c\": 2}", "rows.jsonl:1: a is missing; the row has: b, c");
  refused("[1]", "rows.jsonl:1: expected an object");
  refused("{\"a\": ", "rows.jsonl:1: is not valid JSON near byte");
  refused("{\"a\": \"gr\xfc\xdf\"}", "rows.jsonl:1: is not UTF-8 near byte");
  refused("\n \n", "rows.jsonl: has no rows");
  expect_error("b[1] is 5, expected a string", [] { text_list_field({{"b", {"x", 5}}}, "b"); });
}

// What other programs write in place of JSON lines is told from its beginning, with the cure.
TEST_F(JsonLines, WhatIsNotJsonLinesIsNamed) {
  refused("{\"a\": NaN}",
          "rows.jsonl:1: is not valid JSON near byte 7 of the line; NaN is not JSON, write null or \"\"");
  refused("{\"a\": -Infinity}", "-Infinity is not JSON, write null or \"\"");
  refused("{\"a\": None}", "None is Python's, write null, true or false");
  refused("{'a': 1}", "texts stand in double quotes");
  refused("[{\"a\": \"x\"}]", "expected an object {...}, got array; write one object a line, without a list around");
  refused("[\n{\"a\": \"x\"}]", "write one object a line, without a list around");
  refused("{\n  \"a\": \"x\"\n}\n", "the object does not end where its line ends: write one object a line");
  refused("{\"a\": \"x\"}\n{\"a\": \"",
          "rows.jsonl:2: is not valid JSON near byte 8 of the line; the line ends too early");
  refused("{\"a\": \"b\",}", "is not valid JSON near byte 11 of the line; remove the comma before }");
  refused("{\"a\": \"b\" , }", "remove the comma before }");
  refused("{\"a\": [1, 2,], \"b\": 3}", "remove the comma before ]");
  refused("a,b\nx,y\n", "it begins with \"a,b\", expected an object {...} (CSV is not read)");
  refused(
      "\xEF\xBB\xBF"
      "a\tb\n",
      "it begins with \"a b\", expected an object {...}");
  refused("{\"a\": \"x\", \"a\": \"y\"}", "rows.jsonl:1: has the field a twice");
  EXPECT_EQ(read("\xEF\xBB\xBF{\"a\": \"x\", \"b\": {\"a\": 1}}"), std::vector<std::string>{"x"});
  EXPECT_EQ(read("\xEF\xBB\xBF\r\n{\"a\": \"x\"}"), std::vector<std::string>{"x"});
  refused("\xEF\xBB\xBF\n", "rows.jsonl: has no rows");
  for (const std::string before : {" ", "{\"a\": \"x\"}\n"})
    refused(before + "\xEF\xBB\xBF\n{\"a\": \"x\"}", "it holds nothing but a byte order mark: remove the line");
  refused(std::string("\xFF\xFE{\0", 4), "rows.jsonl: is UTF-16; write it as UTF-8");
  refused(std::string("{\0\"\0", 4), "rows.jsonl: is UTF-16");
  refused("\x1F\x8B\x08", "rows.jsonl: is compressed by gzip; unpack it with gunzip");
  refused("\x28\xB5\x2F\xFD", "rows.jsonl: is compressed by zstd");
  refused("Rar!\x1A\x07", "rows.jsonl: is a RAR archive; unpack it");
  refused("PK\x03\x04", "rows.jsonl: is a zip file; unpack it");
  refused("PAR1 PAR1", "rows.jsonl: is a Parquet file; let its name end in .parquet");
}

TEST_F(JsonLines, DeeplyNestedListsAreRefusedAndNulledFieldsAreNotSet) {
  const TemporaryFolder folder("json");
  write_text(folder / "deep.json", "{\"a\": " + std::string(300000, '[') + std::string(300000, ']') + "}");
  expect_error(Exit::data, "are nested deeper than 100", [&] { read_json(folder / "deep.json"); });
  expect_error(Exit::data, "are nested deeper than 100",
               [&] { read_json_lines(folder / "deep.json", [](const auto&) {}); });
  write_text(folder / "text.json", "{\"a\": \"" + std::string(300, '[') + "\\\"[\"}");
  EXPECT_EQ(read_json(folder / "text.json").at("a").get<std::string>().size(), 302u);
  write_text(folder / "null.json", R"({"a": null, "b": {"c": null, "d": 1}, "e": [null]})");
  EXPECT_EQ(read_settings(folder / "null.json"), nlohmann::json::parse(R"({"b": {"d": 1}, "e": [null]})"));
}

TEST_F(JsonLines, RowsOfADatasetNameTheirLine) {
  write_text(file_, "\n{\"qry_text\": \"\", \"qry_img_path\": \"\", \"tgt_text\": [\"x\"], \"tgt_img_path\": []}\n");
  expect_error(Exit::data, "rows.jsonl:2: tgt_text has 1 item and tgt_img_path 0", [&] { read_eval_rows(file_); });
  write_text(file_, "{\"qry\": null, \"qry_image_path\": null}\n");
  expect_error(Exit::data, "rows.jsonl:1: qry is null", [&] { read_train_rows(file_); });
  // As pyarrow stores it where there is no picture.
  write_text(file_, R"({"qry": "q", "qry_image_path": null, "pos_text": "p", "pos_image_path": null})");
  EXPECT_EQ(read_train_rows(file_)[0].query, (Side{"q", ""}));
  write_text(file_,
             R"({"qry_text": "q", "qry_img_path": null, "tgt_text": ["a", "b"], "tgt_img_path": [null, "b.png"]})");
  EXPECT_EQ(read_eval_rows(file_)[0].candidates, (std::vector<Side>{{"a", ""}, {"b", "b.png"}}));
}

}  // namespace
}  // namespace vlm2vec
