// data check reports a fault exactly where train or eval stops: a good folder is spoilt in many ways, one at a time.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "golden.h"
#include "io/files.h"
#include "mmeb/data/data_check.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/training/trainer.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// What is done to a copy of the good folder.
class Folder {
 public:
  explicit Folder(const fs::path& path) : path_(path) {}
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::string text(const std::string& name) const { return read_text(path_ / name); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  void remove(const std::string& name) const { fs::remove_all(path_ / name); }
  void rename(const std::string& from, const std::string& to) const { fs::rename(path_ / from, path_ / to); }
  void make_folder_of(const std::string& name) const { remove(name), fs::create_directories(path_ / name); }
  void truncate(const std::string& name, size_t bytes) const { write(name, text(name).substr(0, bytes)); }
  void replace(const std::string& name, const std::string& old, const std::string& with) const {
    std::string content = text(name);
    const size_t at = content.find(old);
    ASSERT_NE(at, content.npos) << name << " has no " << old;
    write(name, content.replace(at, old.size(), with));
  }
  // One row as it stands there, with other fields.
  void change(const std::string& name, size_t number, const Json& fields) const {
    std::istringstream lines(text(name));
    std::string all;
    size_t i = 0;
    for (std::string line; std::getline(lines, line); ++i) {
      Json row = Json::parse(line);
      if (i == number) row.update(fields);
      all += row.dump() + "\n";
    }
    write(name, all);
  }

 private:
  fs::path path_;
};

const std::string kTrain = "Set/original.jsonl", kTest = "Set/test.jsonl";

struct Edit {
  const char* name;
  const char *place, *fault;  // what train or eval says when it stops there, and so check; "": it does not stop
  void (*spoil)(const Folder&);
};

// Row 1 has a picture and negatives, row 2 two pictures, row 3 a picture as its positive, row 4 on both sides.
const Edit kTrainEdits[] = {
    {"nothing", "", "", [](const Folder&) {}},
    {"rows deleted", "original.jsonl", "Parquet", [](const Folder& f) { f.remove(kTrain); }},
    {"rows cut in a line", "original.jsonl:3:", "too early", [](const Folder& f) { f.truncate(kTrain, 400); }},
    {"rows cut at a line's end", "", "", [](const Folder& f) { f.truncate(kTrain, f.text(kTrain).rfind('{')); }},
    {"rows renamed", "original.jsonl", "Parquet", [](const Folder& f) { f.rename(kTrain, "Set/original.json"); }},
    {"set renamed", "", "", [](const Folder& f) { f.rename("Set", "Other"); }},
    {"a folder in place of the rows", "original.jsonl:", "file", [](const Folder& f) { f.make_folder_of(kTrain); }},
    {"rows empty", "original.jsonl:", "no rows", [](const Folder& f) { f.write(kTrain, ""); }},
    {"rows blank", "original.jsonl:", "no rows", [](const Folder& f) { f.write(kTrain, "\n \n"); }},
    {"rows without a last line's end", "", "", [](const Folder& f) { f.truncate(kTrain, f.text(kTrain).size() - 1); }},
    {"byte order mark", "", "", [](const Folder& f) { f.write(kTrain, "\xEF\xBB\xBF" + f.text(kTrain)); }},
    {"CR LF", "", "", [](const Folder& f) { f.replace(kTrain, "\n", "\r\n"); }},
    {"UTF-16", "original.jsonl:", "UTF-16",
     [](const Folder& f) { f.write(kTrain, std::string("\xFF\xFE{\0\"\0", 6)); }},
    {"gzip", "original.jsonl:", "gzip", [](const Folder& f) { f.write(kTrain, "\x1F\x8B\x08" + f.text(kTrain)); }},
    {"Parquet named .jsonl", "original.jsonl:", "Parquet",
     [](const Folder& f) { f.write(kTrain, "PAR1" + f.text(kTrain)); }},
    {"a JSON array", "original.jsonl:1:", "list around",
     [](const Folder& f) { f.write(kTrain, "[" + f.text(kTrain) + "]"); }},
    {"indented JSON", "original.jsonl:1:", "does not end where its line ends",
     [](const Folder& f) {
       f.write(kTrain, Json{{"qry", "q"}, {"pos_text", "p"}}.dump(2) + "\n");
     }},
    {"CSV", "original.jsonl:1:", "CSV", [](const Folder& f) { f.write(kTrain, "qry,qry_image_path\nq,p.png\n"); }},
    {"single quotes", "original.jsonl:1:", "double quotes",
     [](const Folder& f) { f.replace(kTrain, "\"qry\"", "'qry'"); }},
    {"a comma too many", "original.jsonl:1:", "remove the comma",
     [](const Folder& f) { f.replace(kTrain, "}\n", ",}\n"); }},
    {"a field twice", "original.jsonl:1:", "qry twice",
     [](const Folder& f) { f.replace(kTrain, "{\"qry\"", "{\"qry\": \"q\", \"qry\""); }},
    {"bytes that are not UTF-8", "original.jsonl:1:", "UTF-8",
     [](const Folder& f) { f.replace(kTrain, "Name", "N\xE4me"); }},
    {"NaN", "original.jsonl:1:", "NaN", [](const Folder& f) { f.replace(kTrain, "null", "NaN"); }},
    {"a query null", "original.jsonl:2:", "qry is null",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"qry", nullptr}});
     }},
    {"a query a number", "original.jsonl:2:", "qry is 3",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"qry", 3}});
     }},
    {"a column missing", "original.jsonl:1:", "qry_image_path is missing",
     [](const Folder& f) { f.replace(kTrain, "\"qry_image_path\"", "\"qry_image\""); }},
    {"a column more", "", "",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"id", {1, nullptr}}});
     }},
    {"a picture null", "", "",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry_image_path", nullptr}});
     }},
    {"a picture a number", "original.jsonl:4:", "qry_image_path is 4",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry_image_path", 4}});
     }},
    {"pictures nested too deep", "original.jsonl:2:", "qry_image_path[1]",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"qry_image_path", {"p1.png", {"p2.png", "p0.png"}}}});
     }},
    {"lists of two lengths", "original.jsonl:4:", "pos_text has 2",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"pos_text", {"a", "b"}}, {"pos_image_path", {nullptr}}});
     }},
    {"no positive", "original.jsonl:4:", "pos_text",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"pos_text", Json::array()}, {"pos_image_path", Json::array()}});
     }},
    {"an empty positive", "row 4 ", "neither text nor picture",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"pos_text", ""}, {"pos_image_path", nullptr}});
     }},
    {"an empty query", "row 4 ", "neither text nor picture",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", ""}, {"qry_image_path", ""}});
     }},
    {"the model's token beside the stored one", "row 4 ", "has 2 image tokens",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", "<|image_1|> what is <|image_pad|>?"}});
     }},
    {"the model's token alone", "", "",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", "<|image_pad|> what?"}});
     }},
    {"the model's token without a picture", "", "",
     [](const Folder& f) {
       f.change(kTrain, 2, {{"qry", "what is <|image_pad|>?"}});
     }},
    {"two tokens for a picture", "row 4 ", "has 2 image tokens",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", "<|image_1|> <|image_1|>"}});
     }},
    {"no token for a picture", "row 4 ", "has 0 image tokens",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", "Name it."}});
     }},
    {"a token of no picture", "row 4 ", "has <|image_2|> and 1 picture",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry", "<|image_2|>"}});
     }},
    {"one of two pictures twice", "row 2 ", "has <|image_1|> and 2 pictures",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"qry", "<|image_1|> <|image_1|>"}});
     }},
    {"one token for two pictures", "row 2 ", "has 1 image token ",
     [](const Folder& f) {
       f.change(kTrain, 1, {{"qry", "<|image_1|>"}});
     }},
    {"a token in a positive without picture", "", "",
     [](const Folder& f) {
       f.change(kTrain, 0, {{"pos_text", "<|image_1|>"}});
     }},
    {"a negative's picture missing", "row 1 ", "p9.png: no such",
     [](const Folder& f) {
       f.change(kTrain, 0, {{"neg_image_path", {nullptr, "p9.png"}}});
     }},
    {"a negative without its token", "row 1 ", "has 0 image tokens",
     [](const Folder& f) {
       f.change(kTrain, 0, {{"neg_image_path", {"p3.png", "p3.png"}}});
     }},
    {"a picture deleted", "row 2 ", "p2.png: no such", [](const Folder& f) { f.remove("p2.png"); }},
    {"a picture cut", "row 2 ", "p2.png: damaged PNG", [](const Folder& f) { f.truncate("p2.png", 120); }},
    {"a picture empty", "row 2 ", "p2.png: is empty", [](const Folder& f) { f.write("p2.png", ""); }},
    {"a picture that is a text", "row 2 ", "p2.png: is a text",
     [](const Folder& f) { f.write("p2.png", "<html>404</html>"); }},
    {"a picture under another name", "row 2 ", "p2.png: no such",
     [](const Folder& f) { f.rename("p2.png", "P2.PNG"); }},
    {"a folder in place of a picture", "row 2 ", "p2.png: no such",
     [](const Folder& f) { f.make_folder_of("p2.png"); }},
    {"a picture in no row broken", "", "", [](const Folder& f) { f.write("p9.png", "?"); }},
    {"a data URI that is not base64", "row 4 ", "is not base64",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry_image_path", "data:image/png;base64,?"}});
     }},
    {"a data URI of a text", "row 4 ", "is a text",
     [](const Folder& f) {
       f.change(kTrain, 3, {{"qry_image_path", "data:image/png;base64,aGVsbG8="}});
     }},
    {"rows in two forms", "original.jsonl", "original.parquet",
     [](const Folder& f) { f.write("Set/original.parquet", "PAR1"); }},
};
const Edit kTestEdits[] = {
    {"nothing", "", "", [](const Folder&) {}},
    {"tasks deleted", "Set: ", "tasks.json", [](const Folder& f) { f.remove("tasks.json"); }},
    {"tasks cut", "tasks.json: ", "near byte 31", [](const Folder& f) { f.truncate("tasks.json", 30); }},
    {"tasks with NaN", "tasks.json: ", "near byte", [](const Folder& f) { f.replace("tasks.json", "\"vqa\"", "NaN"); }},
    {"tasks of another kind", "tasks.json: ", "meta_task \"qa\"",
     [](const Folder& f) { f.replace("tasks.json", "vqa", "qa"); }},
    {"tasks without the set", "Set: ", "tasks.json", [](const Folder& f) { f.replace("tasks.json", "Set", "Sets"); }},
    {"tasks a list", "tasks.json: ", "meta_task", [](const Folder& f) { f.write("tasks.json", "[]"); }},
    {"a folder in place of tasks", "tasks.json: ", "file", [](const Folder& f) { f.make_folder_of("tasks.json"); }},
    {"rows renamed", "test.jsonl", "rows called Test", [](const Folder& f) { f.rename(kTest, "Set/Test.jsonl"); }},
    {"rows cut", "test.jsonl:2:", "too early", [](const Folder& f) { f.truncate(kTest, 200); }},
    {"a folder in place of the rows", "test.jsonl: ", "file", [](const Folder& f) { f.make_folder_of(kTest); }},
    {"lists of two lengths", "test.jsonl:1:", "tgt_text has 3",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", {"a", "b", "c"}}});
     }},
    {"empty lists", "test.jsonl:1:", "tgt_text",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", Json::array()}, {"tgt_img_path", Json::array()}});
     }},
    {"targets a text", "test.jsonl:1:", "type string",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", "a"}});
     }},
    {"an empty candidate", "row 1 ", "candidate 1",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", {"", "<|image_1|>"}}});
     }},
    {"no pictures of targets", "", "",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", {"a", "b"}}, {"tgt_img_path", nullptr}});
     }},
    {"the column of pictures missing", "test.jsonl:1:", "tgt_img_path is missing",
     [](const Folder& f) { f.replace(kTest, "tgt_img_path", "tgt_path"); }},
    {"a stray token", "row 1 ", "has 2 image tokens",
     [](const Folder& f) {
       f.change(kTest, 0, {{"tgt_text", {"a", "<|image_1|> <|image_pad|>"}}});
     }},
    {"one token for two pictures", "row 1 ", "has 1 image token ",
     [](const Folder& f) {
       f.change(kTest, 0, {{"qry_img_path", {"p0.png", "p1.png"}}});
     }},
    {"a candidate's picture deleted", "row 1 ", "p3.png: no such", [](const Folder& f) { f.remove("p3.png"); }},
    {"a candidate's picture cut", "row 1 ", "p3.png: damaged PNG", [](const Folder& f) { f.truncate("p3.png", 100); }},
    {"a query's picture a text", "row 1 ", "p0.png: is a text",
     [](const Folder& f) { f.write("p0.png", "no picture"); }},
};
const Edit kParquetEdits[] = {
    {"nothing", "", "", [](const Folder&) {}},
    {"cut", "test.parquet: ", "PAR1", [](const Folder& f) { f.truncate("Set/test.parquet", 5000); }},
    {"named .jsonl", "test.jsonl: ", "Parquet", [](const Folder& f) { f.rename("Set/test.parquet", kTest); }},
    {"a shard missing", "test-00000-of-00002.parquet: ", "shards",
     [](const Folder& f) { f.rename("Set/test.parquet", "Set/test-00000-of-00002.parquet"); }},
    {"one shard", "", "", [](const Folder& f) { f.rename("Set/test.parquet", "Set/test-00000-of-00001.parquet"); }},
    {"a picture damaged", "row 1 ", "PNG header",
     [](const Folder& f) { f.replace("Set/test.parquet", "IHDR", "IHDX"); }},
    {"JSON lines named .parquet", "test.parquet: ", "PAR1",
     [](const Folder& f) { f.write("Set/test.parquet", "{\"qry_text\": \"q\"}\n"); }},
};

class DataCheckAgrees : public testing::Test {
 protected:
  DataCheckAgrees() { write_tiny_model(folder_ / "model"); }

  // Whether call() stops with an error of the data.
  static std::string error_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(int(error.code), int(Exit::data)) << error.what();
      return error.what();
    }
    return "";
  }
  std::string found_by_check(const fs::path& data, const std::string& split) const {
    std::string problems;
    const std::string error = error_of([&] {
      const DataFolder folder = open_data_folder(data, {{}, {}, "", split});
      for (const DataSet& set : folder.sets)
        if (set.test == (split == "test"))
          for (const std::string& problem : check_data_set(set, folder).problems) problems += problem + "\n";
    });
    return problems + error;
  }
  std::string found_by_train(const fs::path& data) const {
    TrainOptions o;
    o.model_name = folder_ / "model", o.dataset_name = data, o.output_dir = folder_ / "run";
    o.max_steps = 1, o.per_device_train_batch_size = 4, o.num_hardneg = 2, o.overwrite_output_dir = true;
    o.resume_from = "none";
    return error_of([&] { train(o, Device::cpu, true); });
  }
  std::string found_by_eval(const fs::path& data) const {
    EvalOptions o;
    o.model_name = folder_ / "model", o.dataset_name = data, o.encode_output_path = folder_ / "scores";
    fs::remove_all(o.encode_output_path);
    return error_of([&] { evaluate(o, Device::cpu, true); });
  }
  void compare(const std::string& form, std::span<const Edit> edits, bool test) const {
    for (const Edit& edit : edits) {
      const fs::path data = folder_ / "data";
      fs::remove_all(data);
      fs::copy(golden("mmeb/held") / form, data, fs::copy_options::recursive);
      for (const char* other : {"Set/original.jsonl", "Set/original.parquet"})
        if (test) fs::remove(data / other);
      if (!test) fs::remove(data / "Set/test.jsonl");
      edit.spoil(Folder(data));
      const std::string check = found_by_check(data, test ? "test" : "original"),
                        run = test ? found_by_eval(data) : found_by_train(data);
      for (const auto& [who, said] : {std::pair("check", check), {"the run", run}}) {
        SCOPED_TRACE(sentence(edit.name, ", ", who, ": \"", said, "\""));
        EXPECT_EQ(said.empty(), *edit.fault == '\0');
        EXPECT_NE(said.find(edit.place), said.npos) << edit.place;
        EXPECT_NE(said.find(edit.fault), said.npos) << edit.fault;
      }
    }
  }
  const TemporaryFolder folder_{"check"};
};

TEST_F(DataCheckAgrees, with_train) { compare("paths", kTrainEdits, false); }
TEST_F(DataCheckAgrees, with_eval) { compare("paths", kTestEdits, true); }
TEST_F(DataCheckAgrees, with_eval_of_Parquet_files) { compare("parquet", kParquetEdits, true); }

// All faults of a set are told at once.
TEST_F(DataCheckAgrees, behind_lines_that_cannot_be_read) {
  fs::copy(golden("mmeb/held/paths"), folder_ / "data", fs::copy_options::recursive);
  const Folder data(folder_ / "data");
  data.write(kTrain, "{\n" + data.text(kTrain) + "[1]\n{\"qry\": 3}\n");
  data.remove("p1.png");
  const std::string found = found_by_check(folder_ / "data", "original");
  for (const char* part : {"original.jsonl:1: ", "expected an object", "qry is 3", "p1.png: no such file"})
    EXPECT_NE(found.find(part), found.npos) << part << ": " << found;
  std::string lines;
  for (int i = 0; i < 8; ++i) lines += "{\n";
  data.write(kTrain, lines);
  EXPECT_NE(found_by_check(folder_ / "data", "original").find("Set: 3 more rows cannot be read"), found.npos);
}

// A row that one model can read is not one for a model with another token.
TEST_F(DataCheckAgrees, with_the_token_of_a_model) {
  Folder data(folder_ / "data");
  data.write(kTrain, Json{{"qry", "<|image_1|> <image>"},
                          {"qry_image_path", nullptr},
                          {"pos_text", "<image>"},
                          {"pos_image_path", nullptr}}
                         .dump());
  const DataFolder folder = open_data_folder(folder_ / "data");
  EXPECT_EQ(check_data_set(folder.sets[0], folder).without_picture, 1);
  EXPECT_EQ(check_data_set(folder.sets[0], folder, {.image_token = "<image>"}).without_picture, 2);
}

}  // namespace
}  // namespace vlm2vec
