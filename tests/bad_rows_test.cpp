// Rows that turn out to be unusable in the middle of training: --bad_rows error and skip.
#include "expect_error.h"
#include "trainer_fixture.h"

namespace vlm2vec {
namespace {

class BadRow : public Trainer {
 protected:
  BadRow() {
    write_text(data() / "images/A3.png", "no picture");  // row 4 of A
    fs::remove(data() / "images/B0.png");                // row 1 of B
    rewrite("A", 6, {{"qry", ""}, {"qry_image_path", ""}});
    rewrite("B", 2, {{"qry", "no token"}});
    rewrite("B", 4, {{"qry_image_path", ""}});  // as in WebQA and EDIS: no fault
  }
  fs::path data() { return folder_.path() / "data"; }
  void rewrite(const std::string& set, size_t row, const json& changes) {
    std::istringstream lines(read_text(data() / set / "original.jsonl"));
    std::string text, line;
    for (size_t i = 0; std::getline(lines, line); ++i) {
      json object = json::parse(line);
      if (i == row) object.update(changes);
      text += object.dump() + "\n";
    }
    write_text(data() / set / "original.jsonl", text);
  }
  std::vector<json> listed(const std::string& run) {
    std::vector<json> rows;
    std::istringstream lines(file(run + "/skipped_rows.jsonl"));
    for (std::string line; std::getline(lines, line);) rows.push_back(json::parse(line));
    return rows;
  }
};

TEST_F(BadRow, IsAnErrorThatNamesRowFileAndCure) {
  write_png(data() / "images/B0.png", plain_image(16, 16, 9));
  expect_error(Exit::data, "row 4 of A: ", [&] { train(options("a"), Device::cpu, true); });
  expect_error(Exit::data, "A3.png", [&] { train(options("b"), Device::cpu, true); });
  expect_error(Exit::data, "--bad_rows skip", [&] { train(options("c"), Device::cpu, true); });
}

TEST_F(BadRow, IsLeftOutCountedAndListed) {
  TrainOptions o = options("skip");
  o.bad_rows = "skip";
  train(o, Device::cpu, true);
  std::map<std::string, std::string> errors;
  for (const json& line : listed("skip")) {
    EXPECT_TRUE(errors.emplace(line.at("row"), line.at("error")).second) << line;
    EXPECT_EQ(line.at("side"), "query");
  }
  ASSERT_EQ(errors.size(), 4u);
  EXPECT_NE(errors.at("row 4 of A").find("A3.png"), std::string::npos);
  EXPECT_NE(errors.at("row 1 of B").find("B0.png"), std::string::npos);
  EXPECT_NE(errors.at("row 7 of A").find("neither text nor picture"), std::string::npos);
  EXPECT_NE(errors.at("row 3 of B").find("0 image tokens"), std::string::npos);
  int64_t skipped = 0, pairs = 0, tokens = 0;
  for (const json& step : log("skip"))
    skipped += step.at("skipped").get<int64_t>(), pairs += step.at("pairs").get<int64_t>(),
        tokens += step.at("tokens_without_picture").get<int64_t>();
  EXPECT_EQ(skipped, 4 * 3);  // 12 steps of 6 see each of 24 rows three times
  EXPECT_EQ(pairs, 20 * 3);
  EXPECT_EQ(tokens, 1 * 3);
  EXPECT_DOUBLE_EQ(log("skip").back().at("epoch"), 3);
}

TEST_F(BadRow, SkippingGoesOnBitForBitAndInChunks) {
  TrainOptions o = lora("whole");
  o.bad_rows = "skip";
  o.gc_q_chunk_size = o.gc_p_chunk_size = 2;
  train(o, Device::cpu, true);
  o.output_dir = folder_.path() / "parts", o.save_steps = 5;
  train(o, Device::cpu, true);
  fs::remove_all(folder_.path() / "parts/checkpoint-10");
  fs::remove(folder_.path() / "parts/adapter_model.safetensors");
  fs::remove(folder_.path() / "parts/trainer_state.json");
  o.resume_from = "auto";
  train(o, Device::cpu, true);
  EXPECT_EQ(file("whole/adapter_model.safetensors"), file("parts/adapter_model.safetensors"));
  EXPECT_EQ(listed("parts").size(), 4u);
  EXPECT_EQ(log("whole").size(), log("parts").size());
  for (size_t i = 0; i < log("whole").size(); ++i)
    for (const char* name : {"loss", "epoch", "skipped", "pairs"})
      EXPECT_EQ(log("whole")[i].at(name), log("parts")[i].at(name)) << i << name;
}

TEST_F(BadRow, IsOneRowHoweverManySidesAreBadAndNegativesAreCountedApart) {
  rewrite("A", 6, {{"pos_text", ""}});
  rewrite("A", 0, {{"neg_text", "<|image_1|>"}, {"neg_image_path", "images/A3.png"}});
  for (const char* set : {"A", "B"})
    for (size_t row = 1; row < 12; ++row) rewrite(set, row, {{"neg_text", "no"}, {"neg_image_path", ""}});
  TrainOptions o = options("skip");
  o.bad_rows = "skip", o.num_hardneg = 1;
  testing::internal::CaptureStderr();
  train(o, Device::cpu, false);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("train: 4 rows and 1 hard negative left out, see "), std::string::npos) << said;
  std::multiset<std::string> sides;
  for (const json& line : listed("skip"))
    sides.insert(line.at("row").get<std::string>() + " " + line.at("side").get<std::string>());
  EXPECT_EQ(sides, (std::multiset<std::string>{"row 1 of A negative", "row 1 of B query", "row 3 of B query",
                                               "row 4 of A query", "row 7 of A query", "row 7 of A target"}));
}

TEST_F(BadRow, MayBeTheLastOneOfAnEpochInABatchOfItsOwn) {
  std::string batches = "[[0,1,2],[3],[4,5]]";
  write_text(folder_ / "batches.json", batches);
  TrainOptions o = options("alone");
  o.dataset_name = "", o.train_file = data() / "A/original.jsonl", o.image_dir = data();
  o.batches = folder_ / "batches.json", o.per_device_train_batch_size = TrainOptions().per_device_train_batch_size;
  o.bad_rows = "skip", o.max_steps = 3;
  train(o, Device::cpu, true);
  EXPECT_EQ(log("alone")[1].at("pairs"), 0);
  EXPECT_EQ(log("alone")[1].at("grad_norm"), 0.0);
  EXPECT_GT(log("alone")[2].at("loss"), 0.0);
}

TEST_F(BadRow, TooFewRowsAreNoBatch) {
  for (size_t row = 0; row < 12; ++row)
    for (const char* set : {"A", "B"}) rewrite(set, row, {{"qry", ""}, {"qry_image_path", ""}});
  TrainOptions o = options("none");
  o.bad_rows = "skip";
  expect_error(Exit::data, "step 1: none of 6 rows can be used; train: 6 rows left out",
               [&] { train(o, Device::cpu, true); });
}

TEST_F(BadRow, OtherWordsAreRefused) {
  TrainOptions o = options("a");
  o.bad_rows = "ignore";
  expect_error(Exit::usage, "--bad_rows ignore, expected error or skip", [&] { train(o, Device::cpu, true); });
}

}  // namespace
}  // namespace vlm2vec
