// --missing_sets skip: of the sets that a recipe or a YAML file names, those that are there.
#include "cli_fixture.h"

namespace vlm2vec {
namespace {

class MissingSets : public Cli {
 protected:
  MissingSets() {
    make_model();
    std::string train, test;
    for (const std::string set : {"Set", "OK-VQA", "CIRR"}) {
      train += set + ": {dataset_parser: mmeb, dataset_name: train, subset_name: " + set + ", image_dir: train}\n";
      test += set + ": {dataset_parser: image_qa, dataset_name: test/" + set + ", image_root: test}\n";
    }
    write("train.yaml", train), write("test.yaml", test);
    write("tasks.json", R"({"datasets": [{"name": "Set", "meta_task": "vqa", "split": "IND"}]})");
  }
  const std::string train_ =
      "train --model_name model --max_steps 1 --per_device_train_batch_size 2 --output_dir out --dataset_";
  const std::string eval_ = "eval --model_name model --encode_output_path scores --dataset_";
};

TEST_F(MissingSets, EndACommandThatDoesNotLeaveThemOut) {
  for (const std::string& line : {train_ + "config train.yaml", eval_ + "config test.yaml"}) {
    const Result r = run(line);
    EXPECT_EQ(r.code, 3) << r.err;
    EXPECT_TRUE(has(r.err, "of 3 sets 2 have no rows (--missing_sets skip continues without them)")) << r.err;
  }
  EXPECT_EQ(files(), 7u);
}

TEST_F(MissingSets, AreNamedAndRecorded) {
  const Json missing = {"OK-VQA", "CIRR"};
  for (const std::string data : {"config train.yaml", "name train --subset_name Set OK-VQA CIRR"}) {
    const Result r = run(train_ + data + " --missing_sets skip --overwrite_output_dir True");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, "train: 2 sets have no rows and are left out: OK-VQA, CIRR")) << r.err;
    EXPECT_EQ(read_json(folder_ / "out/training_options.json").at("left_out_sets"), missing);
  }
  for (const std::string data : {"config test.yaml", "name test --subset_name Set OK-VQA CIRR"}) {
    fs::remove_all(folder_ / "scores");
    const Result r = run(eval_ + data + " --missing_sets skip");
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, "eval: 2 sets have no rows and are left out: OK-VQA, CIRR")) << r.err;
    const Json summary = read_json(folder_ / "scores/summary.json");
    EXPECT_EQ(summary.at("missing_sets"), missing);
    EXPECT_EQ(summary.at("datasets").size(), 1u);
    EXPECT_EQ(summary.at("overall"), summary.at("datasets").at("Set").at("accuracy"));
  }
}

}  // namespace
}  // namespace vlm2vec
