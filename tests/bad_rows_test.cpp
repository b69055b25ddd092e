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
    return lines_of_json(folder_ / run / "skipped_rows.jsonl");
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

class Batches : public BadRow {
 protected:
  // Rows of set A, of which 3 and 6 are bad.
  TrainOptions batches(const std::string& name, const json& lists, int64_t steps) {
    TrainOptions o = options(name);
    write_json(folder_ / (name + ".json"), lists);
    o.dataset_name = "", o.train_file = data() / "A/original.jsonl", o.image_dir = data();
    o.batches = folder_ / (name + ".json");
    o.per_device_train_batch_size = TrainOptions().per_device_train_batch_size;
    o.bad_rows = "skip", o.max_steps = steps, o.warmup_steps = 0;
    return o;
  }
};

// Without a pair there is no gradient: the optimiser does not step, and the log has no numbers that nobody computed.
TEST_F(Batches, WithoutAPairChangeNothing) {
  const json lists = {{0, 1, 2}, {4, 5, 7}, {3, 6}, {3}, {8, 9, 10}};
  train(batches("whole", lists, 5), Device::cpu, true);
  for (const size_t step : {2, 3}) {
    const json line = log("whole")[step];
    EXPECT_EQ(line.at("pairs"), 0);
    EXPECT_EQ(line.at("skipped"), step == 2 ? 2 : 1);
    for (const char* name : {"loss", "grad_norm", "in_batch_accuracy", "duplicates"})
      EXPECT_TRUE(line.at(name).is_null()) << name;
  }
  EXPECT_GT(log("whole")[4].at("loss"), 0.0);
  // As if they had not been: with a rate that does not depend on the step.
  TrainOptions o = batches("constant", lists, 5);
  o.lr_scheduler_type = "constant", o.save_steps = 3;
  train(o, Device::cpu, true);
  TrainOptions without = batches("without", {lists[0], lists[1], lists[4]}, 3);
  without.lr_scheduler_type = "constant", without.lora = false;
  train(without, Device::cpu, true);
  const std::string weights = file("constant/model.safetensors");
  EXPECT_TRUE(weights == file("without/model.safetensors"));
  const json history = json::parse(file("constant/trainer_state.json"))["log_history"];
  EXPECT_EQ(history.size(), 3u);
  // A run that goes on knows how often the optimiser has stepped.
  fs::remove(folder_ / "constant/model.safetensors"), fs::remove(folder_ / "constant/training_state.json");
  o.resume_from = "auto";
  EXPECT_EQ(train(o, Device::cpu, true).steps, 2);
  EXPECT_TRUE(file("constant/model.safetensors") == weights);
}

TEST_F(Batches, WithoutAPairAreNotInTheMean) {
  TrainOptions o = batches("mean", {{0, 1, 2}, {3, 6}, {4, 5, 7}}, 1),
               both = batches("both", {{0, 1, 2}, {4, 5, 7}}, 1);
  o.gradient_accumulation_steps = 3, both.gradient_accumulation_steps = 2;
  train(o, Device::cpu, true), train(both, Device::cpu, true);
  for (const char* name : {"loss", "grad_norm", "in_batch_accuracy", "duplicates"})
    EXPECT_EQ(log("mean")[0].at(name), log("both")[0].at(name)) << name;
  EXPECT_TRUE(file("mean/model.safetensors") == file("both/model.safetensors"));
}

TEST_F(Batches, OfWhichOnePairIsLeftAreSaid) {
  TrainOptions o = batches("single", {{3, 0}, {0, 1, 2}, {6, 1}}, 3);
  testing::internal::CaptureStderr();
  train(o, Device::cpu, false);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("train: --bad_rows skip left a single pair in 2 batches; a single pair has no negatives"),
            std::string::npos)
      << said;
}

TEST_F(BadRow, WhenNoneIsLeftTheRunEnds) {
  for (size_t row = 0; row < 12; ++row)
    for (const char* set : {"A", "B"}) rewrite(set, row, {{"qry", ""}, {"qry_image_path", ""}});
  TrainOptions o = options("none");
  o.bad_rows = "skip";
  expect_error(Exit::data, "step 4: none of the last 24 rows can be used; train: 24 rows left out",
               [&] { train(o, Device::cpu, true); });
  o.output_dir = folder_ / "few", o.max_steps = 2;
  expect_error(Exit::data, "no step had a usable row; train: 12 rows left out",
               [&] { train(o, Device::cpu, true); });
  EXPECT_FALSE(fs::exists(folder_ / "few/model.safetensors"));
}

TEST_F(BadRow, OtherWordsAreRefused) {
  TrainOptions o = options("a");
  o.bad_rows = "ignore";
  expect_error(Exit::usage, "--bad_rows ignore, expected error or skip", [&] { train(o, Device::cpu, true); });
}

}  // namespace
}  // namespace vlm2vec
