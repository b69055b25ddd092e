// Rows of a run: stored compactly, with negatives and several positives, drawn for a batch the same way again.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <set>

#include "expect_error.h"
#include "io/files.h"
#include "mmeb/training/training_batch.h"
#include "temporary_folder.h"
#include "vlm/families/qwen_prompts.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

TEST(PackedRows, are_what_was_added) {
  const std::vector<TrainRow> rows = {{{"q", "a.png"}, {{"p", ""}}, {}},
                                      {{"q", "b.png"}, {{"p", ""}, {"", "a.png"}}, {{"n", "c.png"}, {"", "b.png"}}},
                                      {{"", ""}, {{std::string("\0x", 2), ""}}, {{"q", ""}}},
                                      {{std::string(3 << 20, 'x'), ""}, {{std::string((1 << 20) - 5, 'y'), ""}}, {}},
                                      {{"", ""}, {{std::string(3 << 20, 'x'), ""}}, {}}};
  PackedRows stored;
  for (const TrainRow& row : rows) stored.add(row);
  stored.finish();
  ASSERT_EQ(stored.size(), rows.size());
  EXPECT_EQ(stored.negatives(), 3u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(stored[i].query, rows[i].query);
    EXPECT_EQ(stored[i].positives, rows[i].positives);
    EXPECT_EQ(stored[i].negatives, rows[i].negatives);
  }
  std::vector<std::pair<std::string, size_t>> pictures;
  stored.each_picture([&](const std::string& picture, size_t row) { pictures.emplace_back(picture, row); });
  EXPECT_EQ(pictures, (std::vector<std::pair<std::string, size_t>>{{"a.png", 0}, {"b.png", 1}, {"c.png", 1}}));
}

class Rows : public testing::Test {
 protected:
  static json row(const json& more = {}) {
    json row = {{"qry", "q"}, {"qry_image_path", ""}, {"pos_text", "p"}, {"pos_image_path", ""}};
    if (more.is_object()) row.update(more);
    return row;
  }
  fs::path write(const std::vector<json>& rows, const std::string& name = "rows.jsonl") {
    std::string text;
    for (const json& row : rows) text += row.dump() + "\n";
    fs::create_directories((folder_ / name).parent_path());
    write_text(folder_ / name, text);
    return folder_ / name;
  }
  TrainOptions options(const fs::path& file) {
    TrainOptions o;
    o.train_file = file, o.max_steps = 3, o.per_device_train_batch_size = 4;
    return o;
  }
  const TemporaryFolder folder_{"rows"};
};

TEST_F(Rows, have_negatives_and_positives_as_texts_or_lists) {
  const auto file = write({row(), row({{"neg_text", ""}, {"neg_image_path", ""}}), row({{"neg_text", nullptr}}),
                           row({{"neg_text", "n"}, {"neg_image_path", "n.png"}}), row({{"neg_text", "alone"}}),
                           row({{"neg_image_path", {"x.png", "y.png"}}}),
                           row({{"neg_text", {"a", "", "c"}}, {"neg_image_path", {"", "", "c.png"}}}),
                           row({{"pos_text", {"p1", "p2"}}, {"pos_image_path", {"", "2.png"}}}),
                           row({{"pos_text", "<|image_1|> it"},
                                {"pos_image_path", "p.png"},
                                {"neg_text", ""},
                                {"neg_image_path", "n.png"}})});
  const PackedRows rows = read_train_rows(file, 0, true);
  const std::vector<std::vector<Side>> negatives = {{},
                                                    {},
                                                    {},
                                                    {{"n", "n.png"}},
                                                    {{"alone", ""}},
                                                    {{"<|image_1|>", "x.png"}, {"<|image_1|>", "y.png"}},
                                                    {{"a", ""}, {"c", "c.png"}},
                                                    {},
                                                    {{"<|image_1|> it", "n.png"}}};
  ASSERT_EQ(rows.size(), negatives.size());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].negatives, negatives[i]) << i;
  EXPECT_EQ(rows[7].positives, (std::vector<Side>{{"p1", ""}, {"p2", "2.png"}}));
  EXPECT_TRUE(read_train_rows(file)[3].negatives.empty());
}

TEST_F(Rows, mistakes_are_named) {
  const struct {
    json more;
    std::string message;
  } cases[] = {
      {{{"neg_text", {"a"}}, {"neg_image_path", json::array()}}, "neg_text has 1 item and neg_image_path 0"},
      {{{"neg_text", {"a"}}, {"neg_image_path", "a.png"}}, "neg_text is a list and neg_image_path is not"},
      {{{"neg_text", 3}}, "neg_text is 3, expected a string"},
      {{{"neg_text", {"a", 3}}}, "neg_text[1] is 3, expected a string"},
      {{{"pos_text", json::array()}, {"pos_image_path", json::array()}}, "pos_text is an empty list"},
      {{{"pos_text", nullptr}}, "pos_text is null"},
  };
  for (const auto& c : cases) {
    const fs::path file = write({row(), row(c.more)});
    expect_error(Exit::data, "rows.jsonl:2: " + c.message, [&] { read_train_rows(file, 0, true); });
  }
}

TEST_F(Rows, a_batch_draws_positives_and_negatives_by_seed) {
  const json three = {"a", "b", "c"}, none = {"", "", ""};
  const auto file = write({row({{"pos_text", three}, {"pos_image_path", none}}),
                           row({{"neg_text", three}, {"neg_image_path", none}}), row({{"neg_text", "only"}})});
  TrainOptions o = options(file);
  o.num_hardneg = 2;
  const TrainingData rows(o);
  const std::vector<RowId> ids = {{0, 0}, {0, 1}, {0, 2}};
  const auto texts = [&](const BatchOptions& options) {
    std::vector<std::string> texts;
    for (const EncoderInput& input : make_batch(rows, ids, "<image>", options).targets)
      texts.push_back(input.text);
    return texts;
  };
  std::set<std::string> positives;
  std::set<std::vector<std::string>> all;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto drawn = texts({.num_hardneg = 2, .seed = seed});
    EXPECT_EQ(drawn, texts({.num_hardneg = 2, .seed = seed}));
    ASSERT_EQ(drawn.size(), 3u + 2 + 1);
    EXPECT_EQ(drawn[1] + drawn[2] + drawn[5], "pponly");
    EXPECT_NE(drawn[3], drawn[4]);
    positives.insert(drawn[0]), all.insert(drawn);
  }
  EXPECT_EQ(positives.size(), 3u);
  EXPECT_GT(all.size(), 10u);  // of 3 · 6
  EXPECT_EQ(texts({.num_hardneg = 1}).size(), 5u);
  EXPECT_EQ(texts({}).size(), 3u);
  // Each input has a key of its own for dropout, also in a step's next batch.
  std::set<uint64_t> keys;
  for (const size_t first : {0, 3}) {
    const TrainingBatch batch = make_batch(rows, ids, "", {.num_hardneg = 2, .first = first});
    for (const auto* side : {&batch.queries, &batch.targets})
      for (const EncoderInput& input : *side) keys.insert(input.dropout_id);
  }
  EXPECT_EQ(keys.size(), 2u * (3 + 6));
}

TEST_F(Rows, duplicates_are_counted_and_grouped) {
  const auto file =
      write({row({{"pos_text", "x"}}), row({{"pos_text", "y"}}), row({{"pos_text", "x"}}),
             row({{"pos_text", "x"}, {"pos_image_path", "x.png"}}), row({{"pos_text", "z"}, {"neg_text", "y"}})});
  TrainOptions o = options(file);
  o.num_hardneg = 1;
  const TrainingData rows(o);
  const std::vector<RowId> ids = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}};
  const TrainingBatch batch = make_batch(rows, ids, "", {.num_hardneg = 1, .mask_duplicates = true});
  const std::vector<int32_t> groups = {0, 1, 0, 3, 4, 1};  // the last one is row 4's negative
  EXPECT_EQ(batch.groups, groups);
  EXPECT_EQ(to_vector<int32_t>(batch.matching.groups), groups);
  EXPECT_EQ(to_vector<int32_t>(batch.matching.labels), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_DOUBLE_EQ(batch.duplicates, 3.0 / 5);
  EXPECT_DOUBLE_EQ(batch.accuracy({2, 5, 1, 0, 4}), 3.0 / 5);
  EXPECT_FALSE(make_batch(rows, ids, "", {}).matching.groups.defined());
}

TEST_F(Rows, of_a_batch_are_worded_by_the_style) {
  write({row({{"qry", "<|image_1|>\nRepresent the given image for classification\n"},
              {"qry_image_path", "a.png"},
              {"pos_text", "cat"}})},
        "ImageNet_1K/original.jsonl");
  TrainOptions o;
  o.dataset_name = folder_.path(), o.max_steps = 1, o.per_device_train_batch_size = 1;
  const TrainingData rows(o);
  const PromptStyle& style = prompt_style(qwen3_prompts(), "qwen3-vl-embedding");
  const TrainingBatch batch = make_batch(rows, {{0, 0}}, "<image>", {.style = &style});
  const auto built = [&](const PromptParts& parts) { return style.build(parts, "<image>").text; };
  EXPECT_EQ(batch.queries[0].text, built({"Represent the given image for classification", "", 1}));
  EXPECT_EQ(batch.queries[0].images.size(), 1u);
  EXPECT_EQ(batch.targets[0].text, built({"", "cat", 0}));
  EXPECT_EQ(int(batch.queries[0].route), int(style.route));
}

TEST_F(Rows, of_a_configuration_have_pictures_in_their_own_folders) {
  write({row({{"qry_image_path", "p.png"}})}, "data/A/original.jsonl");
  write({row({{"qry_image_path", "p.png"}}), row()}, "data/B/other.jsonl");
  write_text(folder_ / "c.yaml",
             "A: {dataset_parser: mmeb, dataset_name: data, subset_name: A, image_dir: one}\n"
             "B: {dataset_parser: mmeb, dataset_name: data, subset_name: B, dataset_split: other, image_dir: two, "
             "weight: 3, num_sample_per_subset: 1}\n");
  TrainOptions o = options("");
  o.dataset_config = folder_ / "c.yaml", o.data_basedir = folder_.path(), o.per_device_train_batch_size = 2;
  TrainingData rows(o);
  EXPECT_EQ(rows.summary(), "2 rows of 2 sets, interleaved, 3 steps of 2 pairs");
  EXPECT_EQ(rows.pictures({1, 0}).locate("p.png").name(), folder_ / "two/p.png");
  EXPECT_EQ(rows.note(), "");
  EXPECT_EQ(rows.next().size(), 2u);
  fs::create_directories(folder_ / "one"), write_text(folder_ / "one/p.png", "");
  expect_error(Exit::data, "two/p.png: no such file; row 1 of B names this picture", [&] { rows.check_pictures(); });
  o.sampling = "shuffled";
  EXPECT_NE(TrainingData(o).note().find("weights of --dataset_config have no effect"), std::string::npos);
  o.num_hardneg = 1;
  EXPECT_NE(TrainingData(o).note().find("no row has negatives"), std::string::npos);
  write({row({{"qry_image_path", "other.png"}})}, "data/A/original.jsonl");
  EXPECT_NE(TrainingData(o).fingerprint(), rows.fingerprint());
  write({row({{"qry_image_path", "p.png"}})}, "data/A/original.jsonl");
  EXPECT_EQ(TrainingData(o).fingerprint(), rows.fingerprint());
  write_text(o.dataset_config,
             "A: {dataset_parser: mmeb, dataset_name: data, subset_name: A, image_dir: three}\n"
             "B: {dataset_parser: mmeb, dataset_name: data, subset_name: B, dataset_split: other, image_dir: two, "
             "weight: 3, num_sample_per_subset: 1}\n");
  EXPECT_EQ(TrainingData(o).fingerprint(), rows.fingerprint());  // wherever the pictures lie
  write({row({{"neg_text", "n"}, {"neg_image_path", ""}})}, "data/A/original.jsonl");
  o.num_hardneg = 0;
  EXPECT_NE(TrainingData(o).note().find("1 set has columns of hard negatives, which are not used"), std::string::npos);
}

TEST_F(Rows, options_without_effect_are_refused) {
  const struct {
    void (*change)(TrainOptions&);
    std::string message;
  } cases[] = {
      {[](TrainOptions& o) { o.dataset_config = "c"; }, "one of --dataset_name, --dataset_config and --train_file"},
      {[](TrainOptions& o) { o.train_file = ""; }, "one of --dataset_name, --dataset_config and --train_file"},
      {[](TrainOptions& o) { o.sampling = "random"; }, "--sampling: got \"random\", expected shuffled"},
      {[](TrainOptions& o) { o.sampling = "balanced", o.batches = "b"; }, "--sampling has no effect with --batches"},
      {[](TrainOptions& o) { o.data_basedir = "d"; }, "--data_basedir has no effect without --dataset_config"},
      {[](TrainOptions& o) { o.dataset_split = "train"; }, "it needs --dataset_name"},
      {[](TrainOptions& o) { o.train_file = "", o.dataset_name = "d", o.dataset_split = "a/b"; }, "expected a name"},
      {[](TrainOptions& o) { o.train_file = "", o.dataset_config = "c", o.image_dir = "i"; }, "in each entry"},
      {[](TrainOptions& o) { o.interleave_stopping_strategy = "first"; }, "expected all_exhausted or first_exhausted"},
      {[](TrainOptions& o) { o.interleave_stopping_strategy = "first_exhausted"; }, "without --sampling interleaved"},
      {[](TrainOptions& o) { o.homogeneous_batch_size_per_device = 4; }, "without --sampling interleaved"},
      {[](TrainOptions& o) { o.sampling = "interleaved", o.homogeneous_batch_size_per_device = -1; }, "negative"},
      {[](TrainOptions& o) { o.num_hardneg = -1; }, "--num_hardneg cannot be negative"},
  };
  EXPECT_NO_THROW(check_row_options(options("f.jsonl")));
  for (const auto& c : cases) {
    TrainOptions o = options("f.jsonl");
    c.change(o);
    expect_error(Exit::usage, c.message, [&] { check_row_options(o); });
  }
}

TEST_F(Rows, through_a_pipe_are_refused) {
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  expect_error(Exit::usage, "is a pipe", [&] { TrainingData rows(options(folder_ / "pipe")); });
}

// They would be drawn for ever until one of them comes.
TEST_F(Rows, weights_that_are_next_to_nothing_are_refused) {
  for (const char* set : {"A", "B"}) write({row()}, std::string("data/") + set + "/original.jsonl");
  write_text(folder_ / "c.yaml",
             "A: {dataset_parser: mmeb, dataset_name: data, subset_name: A, image_dir: data}\n"
             "B: {dataset_parser: mmeb, dataset_name: data, subset_name: B, image_dir: data, weight: 1.0e-18}\n");
  TrainOptions o = options("");
  o.dataset_config = folder_ / "c.yaml", o.data_basedir = folder_.path();
  expect_error(Exit::usage, "the weight of B is 1e-18, of all sets 1", [&] { TrainingData rows(o); });
}

// 0: rows are drawn one by one; up to 1: a share of the batch; else rows.
TEST_F(Rows, blocks_are_rows_or_a_share_of_the_batch) {
  for (const char* set : {"A", "B"})
    write(std::vector<json>(64, row()), std::string("data/") + set + "/original.jsonl");
  TrainOptions o = options("");
  o.dataset_name = folder_ / "data", o.sampling = "interleaved", o.per_device_train_batch_size = 8;
  const auto shortest_run = [&](double block) {
    o.homogeneous_batch_size_per_device = block;
    TrainingData rows(o);
    size_t run = 0, shortest = 64;
    RowId last{-1, 0};
    for (int step = 0; step < 6; ++step)
      for (const RowId& row : rows.next()) {
        if (row.set != last.set && run > 0) shortest = std::min(shortest, run), run = 0;
        ++run, last = row;
      }
    return shortest;
  };
  EXPECT_EQ(shortest_run(0), 1u);
  EXPECT_EQ(shortest_run(0.5), 4u);
  EXPECT_EQ(shortest_run(4), 4u);
  EXPECT_EQ(shortest_run(1) % 8, 0u);
  expect_error(Exit::usage, "--homogeneous_batch_size_per_device 2.5", [&] { shortest_run(2.5); });
  expect_error(Exit::usage, "--homogeneous_batch_size_per_device 0.01", [&] { shortest_run(0.01); });
}

TEST_F(Rows, of_another_split_are_read) {
  write({row()}, "data/A/original.jsonl");
  write({row(), row()}, "data/A/diverse_instruction.jsonl");
  TrainOptions o = options("");
  o.dataset_name = folder_ / "data", o.dataset_split = "diverse_instruction";
  EXPECT_EQ(TrainingData(o).count(), 2);
  o.dataset_split = "train";
  expect_error(Exit::data, "no set folder with train.jsonl", [&] { TrainingData{o}; });
}

// A pair that is a batch of its own is said up front: how often, why, and what helps.
TEST_F(Rows, of_one_pair_to_a_batch_are_said) {
  const auto note = [&](int64_t rows, int64_t batch, const std::function<void(TrainOptions&)>& change = {}) {
    TrainOptions o = options(write(std::vector<json>(size_t(rows), row())));
    o.per_device_train_batch_size = batch, o.max_steps = 50;
    if (change) change(o);
    return TrainingData(o).note();
  };
  const std::string reason = "has no wrong answers, so its loss is 0 and the model learns nothing from it; ";
  EXPECT_EQ(note(3, 2), "train: the last of each epoch's 2 batches has one pair (3 rows in batches of 2), which " +
                            reason + "--per_device_train_batch_size 3 avoids it");
  EXPECT_EQ(note(101, 10),
            "train: the last of each epoch's 11 batches has one pair (101 rows in batches of 10), which " + reason +
                "--per_device_train_batch_size 9 avoids it");
  EXPECT_EQ(note(4, 2), "");
  EXPECT_EQ(note(5, 3), "");
  EXPECT_EQ(note(101, 10, [](auto& o) { o.max_steps = 10; }), "");  // the epoch's last batch is not reached
  EXPECT_NE(note(101, 10, [](auto& o) { o.max_steps = 6, o.gradient_accumulation_steps = 2; }), "");
  EXPECT_EQ(note(3, 2, [](auto& o) { o.sampling = "balanced"; }), "");     // all batches are full
  EXPECT_EQ(note(3, 2, [](auto& o) { o.sampling = "interleaved"; }), "");  // the rest is dropped
  EXPECT_EQ(note(4, 1),
            "train: every batch has one pair; such a batch " + reason + "raise --per_device_train_batch_size");
  EXPECT_NE(note(1, 8).find("such a batch " + reason + "more rows are needed"), std::string::npos);
  write_json(folder_ / "batches.json", json::parse("[[0, 1], [2], [1], [0]]"));
  const auto listed = [&](int64_t steps) {
    return note(3, TrainOptions().per_device_train_batch_size,
                [&](auto& o) { o.batches = folder_ / "batches.json", o.max_steps = steps; });
  };
  EXPECT_NE(listed(3).find("train: 2 of the 3 batches of --batches have one pair"), std::string::npos) << listed(3);
  EXPECT_EQ(listed(1), "");
  // Hard negatives are wrong answers, if there are any.
  const auto with_negatives = [&](const json& more) {
    TrainOptions o = options(write({row(more), row(more), row(more)}));
    o.per_device_train_batch_size = 2, o.num_hardneg = 1;
    return TrainingData(o).note();
  };
  EXPECT_EQ(with_negatives({{"neg_text", "no"}, {"neg_image_path", ""}}), "");
  EXPECT_NE(with_negatives({}).find("batches has one pair"), std::string::npos);
}

// A user may have four of the 20 sets that a recipe names.
TEST_F(Rows, of_missing_sets_are_left_out_if_that_is_wanted) {
  write({row()}, "data/A/original.jsonl");
  write({row(), row()}, "data/C/original.jsonl");
  std::string yaml;
  for (const char* set : {"A", "B", "C", "D"})
    yaml += sentence(set, ": {dataset_parser: mmeb, dataset_name: data, subset_name: ", set, ", image_dir: data}\n");
  write_text(folder_ / "c.yaml", yaml);
  TrainOptions config = options(""), named = options("");
  config.dataset_config = folder_ / "c.yaml", config.data_basedir = folder_.path();
  named.dataset_name = folder_ / "data", named.subset_name = {"A", "B", "C", "D"};
  expect_error(Exit::data,
               "data/B/original.jsonl: no such file, and no Parquet file in its place; of 4 sets 2 have no "
               "rows (--missing_sets skip continues without them)",
               [&] { TrainingData{config}; });
  expect_error(Exit::usage, "has no set B", [&] { TrainingData{named}; });
  for (TrainOptions* o : {&config, &named}) {
    o->missing_sets = "skip";
    const TrainingData rows(*o);
    EXPECT_EQ(rows.count(), 3);
    EXPECT_EQ(rows.missing_sets(), (std::vector<std::string>{"B", "D"}));
    EXPECT_NE(rows.note().find("train: 2 sets have no rows and are left out: B, D"), std::string::npos) << rows.note();
  }
  named.subset_name = {"B", "D"};
  expect_error(Exit::data, "of 2 sets none has rows", [&] { TrainingData{named}; });
  named.subset_name = {};
  expect_error(Exit::usage, "--missing_sets has no effect without", [&] { check_row_options(named); });
  config.missing_sets = "ignore";
  expect_error(Exit::usage, "--missing_sets: got \"ignore\", expected error or skip",
               [&] { check_row_options(config); });
}

}  // namespace
}  // namespace vlm2vec
