// --bad_rows skip in eval and embed: what is left out, what is counted and listed, and that rows stay findable.
#include "cli_fixture.h"
#include "expect_error.h"
#include "letters_fixture.h"
#include "lines_of_json.h"
#include "mmeb/evaluation/leaderboard.h"
#include "mmeb/evaluation/score_table.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

class Skipping : public Letters {
 protected:
  Skipping() { data.skip_bad_rows = true; }
  // As Letters, but for these texts, which cannot be read.
  EmbedFunction without(std::set<std::string> texts) {
    return [texts](const std::vector<EncoderInput>& inputs, const std::string& set) {
      EmbeddedRows rows = embed(inputs, set);
      for (size_t i = 0; i < inputs.size(); ++i)
        if (texts.contains(inputs[i].text)) {
          rows.faults[i] = inputs[i].text + " is unreadable";
          std::fill_n(rows.vectors.data<float>() + int64_t(i) * rows.vectors.columns(), rows.vectors.columns(), 0.0f);
        }
      return rows;
    };
  }
  SetScore score(const EmbedFunction& function) { return evaluate(data, function, out).summary.sets.at(1); }
  const fs::path out = folder / "out";
};

// Rows are find a: [a, b], find b: [b, c], …, find f: [f, a].
TEST_F(Skipping, LeavesOutQueriesAndTheirRightAnswers) {
  const SetScore whole = score(without({}));
  EXPECT_EQ(whole.rows, 6);
  EXPECT_FALSE(fs::exists(out / "Texts_skipped_rows.jsonl"));
  EXPECT_EQ(read_json(out / "Texts_score.json").at("num_skipped"), 0);
  const SetScore query = score(without({"find c"}));
  EXPECT_EQ(query.rows, 5);
  EXPECT_EQ(query.skipped, 1);
  EXPECT_EQ(query.skipped_candidates, 0);
  EXPECT_EQ(query.right, "11111");
  EXPECT_NE(query.digest, whole.digest) << "these are other rows";
  const Json stored = read_json(out / "Texts_score.json");
  EXPECT_EQ(stored.at("num_data"), 6);
  EXPECT_EQ(stored.at("num_pred"), 5);
  EXPECT_EQ(stored.at("num_skipped"), 1);
  EXPECT_EQ(read_json(out / "summary.json")["datasets"]["Texts"]["skipped"]["rows"], 1);
  EXPECT_EQ(lines_of_json(out / "Texts_skipped_rows.jsonl"),
            (std::vector<Json>{{{"row", "row 3 of Texts"}, {"side", "query"}, {"error", "find c is unreadable"}}}));
  // c is the right answer of row 3, and the only other candidate of row 2
  const SetScore target = score(without({"c"}));
  EXPECT_EQ(target.rows, 4);
  EXPECT_EQ(target.skipped, 2);
  EXPECT_EQ(target.skipped_candidates, 1);
  EXPECT_EQ(lines_of_json(out / "Texts_skipped_rows.jsonl").size(), 3u);
}

TEST_F(Skipping, LeavesOutOtherCandidatesAlone) {
  data.sets[1].global = true;  // a … f are candidates of every row
  const SetScore five = score(without({"d"}));
  EXPECT_EQ(five.rows, 5) << "the row whose right answer is d";
  EXPECT_NEAR(five.chance, 20, 1e-9);
  EXPECT_EQ(five.accuracy, 100);
  const std::string info = read_text(out / "Texts_info.jsonl");
  EXPECT_EQ(info.find("\"d\""), info.npos) << info;
  const std::string table = score_table({{"out", read_summary(out)}});
  EXPECT_NE(table.find("out: 3 queries and 2 candidates were left out (--bad_rows skip)"), table.npos) << table;
}

TEST_F(Skipping, NothingLeftIsAnError) {
  expect_error(Exit::data, "Classes: none of 6 rows can be used; row 1 of Classes, query: find a is unreadable", [&] {
    score(without({"find a", "find b", "find c", "find d", "find e", "find f"}));
  });
}

TEST_F(Skipping, IsNotForTheLeaderboard) {
  fs::rename(folder / "data/Texts", folder / "data/GQA");
  data.sets = eval_folder(folder / "data", {"GQA"});
  data.tasks = {{"GQA", "vqa", "OOD"}};
  evaluate(data, without({}), out);
  EXPECT_NO_THROW(leaderboard_json(out, {}));
  evaluate(data, without({"find c"}), out);
  expect_error(Exit::data, "GQA_score.json: 1 rows and 0 candidates were left out", [&] { leaderboard_json(out, {}); });
}

// What is kept may have been left out only where that is allowed.
TEST_F(Skipping, IsKeptForThoseWhoSkip) {
  data.model_sha256 = "m";
  score(without({"find c"}));
  EXPECT_EQ(score(without({})).skipped, 1) << "kept";
  data.skip_bad_rows = false;
  EXPECT_EQ(score(without({})).skipped, 0) << "evaluated again";
}

class SkippingCommand : public Cli {
 protected:
  void SetUp() override {
    make_model();
    write("damaged.png", "no picture");
    write("rows.jsonl",
          "{\"text\": \"thing 1\"}\n{\"text\": \"<|image_pad|>\", \"image\": \"damaged.png\"}\n{\"id\": 3}\n"
          "{\"text\": \"two\"}\n{\"text\": \"none\", \"image\": \"train/p1.png\"}\n{\"text\": \"<|image_pad|>\", "
          "\"image\": \"missing.png\"}\n{\"text\": \"<|image_pad|> thing 3\", \"image\": \"train/p2.png\"}\n");
    write("good.jsonl",
          "{\"text\": \"thing 1\"}\n{\"text\": \"two\"}\n{\"text\": \"<|image_pad|> thing 3\", \"image\": "
          "\"train/p2.png\"}\n");
  }
};

TEST_F(SkippingCommand, EmbedLeavesOutListsAndStillFindsRows) {
  const std::string embed = "embed --model_name model --quiet --input ";
  ASSERT_EQ(run(embed + "good.jsonl --output good.npy").code, 0);
  for (const std::string cache : {"", " --embedding_cache cache", " --embedding_cache cache --batch_size 1"}) {
    const Result r = run("embed --model_name model --input rows.jsonl --output rows.npy --bad_rows skip" + cache);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, "embed: 4 of 7 rows left out, first: row 2 of rows.jsonl: ")) << r.err;
    EXPECT_EQ(read_text(folder_ / "rows.npy"), read_text(folder_ / "good.npy")) << cache;
    EXPECT_EQ(read_json(folder_ / "rows.npy.json").at("skipped_rows"), (Json{2, 3, 5, 6}));
    const auto listed = lines_of_json(folder_ / "rows.npy.skipped_rows.jsonl");
    ASSERT_EQ(listed.size(), 4u);
    const char* errors[] = {"damaged.png", "neither text nor picture", "0 image tokens", "no such picture"};
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(listed[i].at("side"), "input");
      EXPECT_TRUE(has(listed[i].at("error"), errors[i])) << listed[i];
      EXPECT_FALSE(has(listed[i].at("error"), "row ")) << "its name stands beside it: " << listed[i];
    }
    EXPECT_EQ(listed[3].at("row"), "row 6 of rows.jsonl");
  }
  const Result found = run("search --index rows.npy --text '<|image_pad|> thing 3' --image train/p2.png --top 1");
  EXPECT_TRUE(has(found.out, "   1  1.0000       7  train/p2.png  <|image_pad|> thing 3\n")) << found.out << found.err;
  const Result queries = run("search --index good.npy --queries rows.npy --top 1");
  EXPECT_TRUE(has(queries.out, "query: row 7 of rows.npy\n")) << queries.out << queries.err;
  ASSERT_EQ(run(embed + "good.jsonl --output rows.npy --bad_rows skip").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "rows.npy.skipped_rows.jsonl")) << "of the vectors before";
}

// Lines that are no rows, whatever is wrong with them, keep their numbers and are listed.
TEST_F(SkippingCommand, LinesThatCannotBeReadAreLeftOut) {
  const std::vector<std::string> bad = {R"({"txt": "a"})", R"({"text": )", R"(["a"])", R"({"text": 5})"};
  std::string rows = "{\"text\": \"thing 1\"}\n", train = read_text(folder_ / "train/Set/original.jsonl"),
              test = read_text(folder_ / "test/Set/test.jsonl");
  for (const std::string& line : bad) rows += line + "\n", train = line + "\n" + train, test = line + "\n" + test;
  write("rows.jsonl", rows + "{\"text\": \"two\"}\n");
  write("train/Set/original.jsonl", train), write("test/Set/test.jsonl", test);
  const auto skips = [&](const std::string& command, const std::string& list, const std::string& file, int64_t first) {
    const Result stopped = run(command);
    EXPECT_EQ(stopped.code, 3) << stopped.err;
    EXPECT_TRUE(has(stopped.err, file + sentence(":", first, ": "))) << stopped.err;
    EXPECT_TRUE(has(stopped.err, "(--bad_rows skip leaves such rows out)")) << stopped.err;
    const Result r = run(command + " --bad_rows skip");
    ASSERT_EQ(r.code, 0) << r.err;
    std::set<std::string> numbers;
    for (const Json& line : lines_of_json(folder_ / list)) {
      numbers.insert(line.at("row"));
      EXPECT_EQ(has(line.at("error"), file + ":"), file != "rows.jsonl") << line;
    }
    EXPECT_EQ(numbers.size(), 4u);
    for (int64_t i = first; i < first + 4; ++i)
      EXPECT_TRUE(numbers.contains(sentence("row ", i, file == "rows.jsonl" ? " of rows.jsonl" : " of Set"))) << i;
  };
  skips("embed --model_name model --input rows.jsonl --output rows.npy", "rows.npy.skipped_rows.jsonl", "rows.jsonl",
        2);
  EXPECT_EQ(read_json(folder_ / "rows.npy.json").at("skipped_rows"), (Json{2, 3, 4, 5}));
  skips("train --model_name model --dataset_name train --output_dir out --per_device_train_batch_size 9 --max_steps 1",
        "out/skipped_rows.jsonl", "train/Set/original.jsonl", 1);
  skips("eval --model_name model --dataset_name test --encode_output_path scores", "scores/Set_skipped_rows.jsonl",
        "test/Set/test.jsonl", 1);
  EXPECT_EQ(read_json(folder_ / "scores/Set_score.json").at("num_skipped"), 4);
  EXPECT_EQ(read_json(folder_ / "scores/Set_score.json").at("num_pred"), 3);
  for (const char* input : {"none.jsonl", "train"}) {
    const Result r = run(std::string("embed --model_name model --output x.npy --input ") + input);
    EXPECT_EQ(r.code, 3);
    EXPECT_FALSE(has(r.err, "--bad_rows")) << r.err;
  }
}

TEST_F(SkippingCommand, EmbedSaysWhatIsWrongAndHowToGoOn) {
  const auto fails = [&](const std::string& row, const std::string& words, const std::string& more = "") {
    write("one.jsonl", "{\"text\": \"thing 1\"}\n" + row + "\n");
    const Result r = run("embed --model_name model --input one.jsonl --output one.npy " + more);
    EXPECT_EQ(r.code, 3) << r.err;
    EXPECT_TRUE(has(r.err, words)) << r.err;
    if (more.empty()) {
      EXPECT_TRUE(has(r.err, "(--bad_rows skip leaves such rows out)")) << r.err;
    }
    EXPECT_FALSE(fs::exists(folder_ / "one.npy"));
  };
  fails(R"({"image": "train/p1.png"})", "and 1 picture; every picture needs one (--prompt STYLE, the one ");
  fails(R"({"text": "<|image_pad|>", "image": "damaged.png"})", "damaged.png");
  fails(R"({"text": "", "image": null})", "one.jsonl:2: has neither text nor picture");
  write("one.jsonl", "{\"text\": \"\"}\n");
  const Result none = run("embed --model_name model --input one.jsonl --output one.npy --bad_rows skip");
  EXPECT_EQ(none.code, 3);
  EXPECT_TRUE(has(none.err, "embed: none of 1 rows can be used; row 1 of one.jsonl: has neither")) << none.err;
  EXPECT_EQ(run("embed --model_name model --input one.jsonl --output one.npy --bad_rows no").code, 2);
}

TEST_F(SkippingCommand, EvalNamesTheCandidateOrLeavesItOut) {
  Json row = {{"qry_text", "Name it."}, {"qry_img_path", ""}};
  for (int i = 0; i < 8; ++i)
    row["tgt_text"].push_back(i == 6 ? "" : "thing " + std::to_string(i)), row["tgt_img_path"].push_back("");
  write("test/Set/test.jsonl", row.dump() + "\n");
  const std::string eval = "eval --model_name model --dataset_name test --encode_output_path out ";
  const Result empty = run(eval);
  EXPECT_EQ(empty.code, 3);
  EXPECT_TRUE(has(empty.err, "row 1 of Set, candidate 7 (index 6): has neither text nor picture")) << empty.err;
  EXPECT_TRUE(has(empty.err, "--bad_rows skip")) << empty.err;
  row["tgt_text"][6] = "<|image_1|>", row["tgt_img_path"][6] = "damaged.png";
  write("test/Set/test.jsonl", row.dump() + "\n");
  const Result missing = run(eval);
  EXPECT_TRUE(has(missing.err, "row 1 of Set, candidate 7 (index 6) names this picture")) << missing.err;
  write("test/damaged.png", "no picture");
  const Result damaged = run(eval);
  EXPECT_EQ(damaged.code, 3);
  EXPECT_TRUE(has(damaged.err, "row 1 of Set, candidate 7 (index 6): ")) << damaged.err;
  row["tgt_text"][6] = "no token";
  write("test/Set/test.jsonl", row.dump() + "\n");
  const Result token = run(eval);
  EXPECT_TRUE(has(token.err, "candidate 7 (index 6): the text \"no token\" has 0 image tokens")) << token.err;
  for (const char* cache : {"", " --embedding_cache cache --overwrite True"}) {
    const Result skipped = run(eval + "--bad_rows skip" + cache);
    ASSERT_EQ(skipped.code, 0) << skipped.err;
    EXPECT_TRUE(has(skipped.out, "out: 0 queries and 1 candidate were left out (--bad_rows skip)")) << skipped.out;
    EXPECT_EQ(lines_of_json(folder_ / "out/Set_skipped_rows.jsonl").at(0).at("side"), "candidate 7");
    const Json score = read_json(folder_ / "out/Set_score.json");
    EXPECT_EQ(score.at("num_skipped_candidates"), 1);
    EXPECT_EQ(score.at("num_pred"), 1);
  }
}

}  // namespace
}  // namespace vlm2vec
