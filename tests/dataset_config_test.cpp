// Official YAML configurations: what good ones name, and one sentence for each bad one.
#include "mmeb/data/dataset_config.h"

#include <gtest/gtest.h>

#include <set>

#include "expect_error.h"
#include "io/files.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

class Config : public testing::Test {
 protected:
  DatasetConfig train(const std::string& text, const std::string& basedir = "") {
    write_text(folder_ / "c.yaml", text);
    return read_train_config(folder_ / "c.yaml", basedir);
  }
  DatasetConfig eval(const std::string& text) {
    write_text(folder_ / "c.yaml", text);
    return read_eval_config(folder_ / "c.yaml", "data");
  }
  const TemporaryFolder folder_{"config"};
};

TEST_F(Config, of_training_is_read) {
  const auto config = train(
      "# comment\n"
      "First:\n"
      "    dataset_parser: mmeb\n"
      "    dataset_name: MMEB-train\n"
      "    subset_name: OK-VQA\n"
      "    dataset_split: diverse_instruction\n"
      "    image_dir: pictures\n"
      "    num_sample_per_subset: 10_000\n"
      "    weight: 0.5\n"
      "'Second': {dataset_parser: mmeb_neg, dataset_name: /abs, subset_name: B, num_frames: 8, num_rows: 3}\n",
      "data");
  ASSERT_EQ(config.sources.size(), 2u);
  const SetSource &first = config.sources[0], &second = config.sources[1];
  EXPECT_EQ(first.name, "First");
  EXPECT_EQ(first.file, "data/MMEB-train/OK-VQA/diverse_instruction.jsonl");
  EXPECT_EQ(first.image_dir, "data/pictures");
  EXPECT_EQ(first.limit, 10000);
  EXPECT_EQ(first.weight, 0.5);
  EXPECT_EQ(second.file, "/abs/B/original.jsonl");
  EXPECT_EQ(second.image_dir, "/abs");
  EXPECT_EQ(second.limit, 0);
  EXPECT_EQ(second.weight, 1);
  EXPECT_NE(config.note.find("c.yaml: keys that change nothing for these sets: num_frames and num_rows"),
            std::string::npos)
      << config.note;
  EXPECT_EQ(train("A: {dataset_parser: mmeb, dataset_name: d, subset_name: A}\n").note, "");
}

TEST_F(Config, of_evaluation_is_read) {
  const auto config = eval(
      "A: {dataset_parser: image_cls, dataset_name: MMEB-eval/A, image_root: pictures}\n"
      "B: {dataset_parser: image_t2i, dataset_name: B, dataset_split: dev, image_root: /p, eval_type: global, "
      "num_sample_per_subset: 12}\n");
  ASSERT_EQ(config.sources.size(), 2u);
  EXPECT_EQ(config.sources[0].file, "data/MMEB-eval/A/test.jsonl");
  EXPECT_EQ(config.sources[0].image_dir, "data/pictures");
  EXPECT_FALSE(config.sources[0].global);
  EXPECT_EQ(config.sources[1].file, "data/B/dev.jsonl");
  EXPECT_EQ(config.sources[1].image_dir, "/p");
  EXPECT_TRUE(config.sources[1].global);
  EXPECT_EQ(config.sources[0].limit, 0);
  EXPECT_EQ(config.sources[1].limit, 12);
}

TEST_F(Config, examples_name_the_sets_of_mmeb) {
  const auto train = read_train_config(SOURCE_DIR "/examples/mmeb-train-image.yaml", "data");
  EXPECT_EQ(train.sources.size(), 20u);
  int64_t limits = 0;
  for (const SetSource& source : train.sources) {
    EXPECT_EQ(source.file, "data/MMEB-train/" + source.name + "/original.jsonl");
    limits += source.limit;
  }
  EXPECT_EQ(limits, 1103000);
  const auto eval = read_eval_config(SOURCE_DIR "/examples/mmeb-eval-image.yaml", "data");
  EXPECT_EQ(eval.sources.size(), 36u);
  for (const SetSource& source : eval.sources) EXPECT_EQ(source.file, "data/MMEB-eval/" + source.name + "/test.jsonl");
}

TEST_F(Config, null_is_as_if_the_key_were_not_there) {
  const std::string row = "A:\n  dataset_parser: mmeb\n  dataset_name: d\n  subset_name: A\n";
  const SetSource source = train(row + "  num_sample_per_subset: null\n  weight:\n").sources.at(0);
  EXPECT_EQ(source.limit, 0);
  EXPECT_EQ(source.weight, 1);
}

TEST_F(Config, mistakes_are_named_with_their_line) {
  const std::string row = "A:\n  dataset_parser: mmeb\n  dataset_name: d\n  subset_name: A\n";
  const struct {
    std::string text, message;
  } cases[] = {
      {row + "  wieght: 2\n", "c.yaml:5: A has the key wieght, which is not known; the nearest is weight"},
      {row + "  weight: many\n", "c.yaml:5: A has the weight many, expected a number"},
      {row + "  weight: 0\n", "c.yaml:5: A has the weight 0, expected more than 0"},
      {row + "  weight: -1\n", "c.yaml:5: A has the weight -1"},
      {row + "  weight: .nan\n", "c.yaml:5: A has the weight .nan"},
      {row + "  num_sample_per_subset: 1.5\n",
       "c.yaml:5: A has the num_sample_per_subset 1.5, expected a whole number"},
      {row + "  image_dir: [a, b]\n", "c.yaml:5: A has lists or maps"},
      {row + "  dataset_name: e\n", "c.yaml:5: A has the key dataset_name twice"},
      {row + "  weight:\n  weight: 2\n", "c.yaml:6: A has the key weight twice"},
      {row + "  wieght:\n", "c.yaml:5: A has the key wieght, which is not known"},
      {row + "---\nB" + row.substr(1), "c.yaml: has 2 YAML documents, expected one"},
      {row + "  dataset_split: ../x\n", "c.yaml:5: A has the dataset_split ../x, expected a name"},
      {row + row, "c.yaml:5: A is there twice"},
      {"A:\n  dataset_parser: mmeb\n  dataset_name: d\n", "c.yaml:1: A has no subset_name"},
      {"A:\n  dataset_parser: mmeb\n  dataset_name:\n  subset_name: A\n", "c.yaml:1: A has no dataset_name"},
      {"A:\n  dataset_name: d\n", "c.yaml:1: A has no dataset_parser"},
      {row + "v:\n  dataset_parser: llavahound_qa\n  video_frame_basedir: f\n",
       "c.yaml:6: v has the dataset_parser llavahound_qa; rows of mmeb or mmeb_neg are read (no videos"},
      {"A: 3\n", "c.yaml:1: A is not a row"},
      {"- A\n- B\n", "c.yaml: is not a data configuration"},
      {"", "c.yaml: is not a data configuration"},
      {"A: {dataset_parser: mmeb\n", "is not valid YAML"},
      {"A:\n\tdataset_parser: mmeb\n", "c.yaml:2: is not valid YAML"},
      {"A: *nothing\n", "c.yaml:1: is not valid YAML"},
  };
  for (const auto& c : cases) expect_error(Exit::data, c.message, [&] { train(c.text); });
  const std::string test = "A:\n  dataset_parser: image_qa\n  dataset_name: A\n";
  expect_error(Exit::data, "c.yaml:1: A has no image_root", [&] { eval(test); });
  expect_error(Exit::data, "c.yaml:5: A has the eval_type all, expected local or global",
               [&] { eval(test + "  image_root: p\n  eval_type: all\n"); });
  expect_error(Exit::data, "c.yaml:2: A has the dataset_parser mmeb", [&] { eval(row); });
  expect_error("no.yaml", [&] { read_train_config(folder_ / "no.yaml", ""); });
}

}  // namespace
}  // namespace vlm2vec
