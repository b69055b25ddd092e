// Texts that --max_len cuts are counted and named, in every command that reads texts.
#include <sstream>

#include "cli_fixture.h"

namespace vlm2vec {
namespace {

class CutText : public Cli {
 protected:
  void SetUp() override {
    make_model();
    write("rows.jsonl",
          "{\"text\": \"a\"}\n{\"text\": \"thing thing thing 1\"}\n{\"text\": \"thing thing thing 2\"}\n");
  }
  static constexpr const char* kTwo = "--max_len 3 cut 2 of 3 texts, first: row 2 of rows.jsonl; ";
};

TEST_F(CutText, Embed) {
  const std::string embed = "embed --model_name model --input rows.jsonl --output rows.npy ";
  for (const char* cache : {"", "--embedding_cache cache", "--embedding_cache cache"}) {  // the last: all are there
    const Result r = run(embed + "--max_len 3 " + cache);
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, kTwo)) << cache << r.err;
  }
  EXPECT_EQ(Json::parse(run(embed + "--max_len 3 --json").out).at("cut"), 2);
  EXPECT_FALSE(has(run(embed + "--max_len 100").err, "cut"));
  EXPECT_FALSE(has(run(embed).err, "cut"));
}

TEST_F(CutText, SearchAndExplain) {
  ASSERT_EQ(run("embed --model_name model --input rows.jsonl --output rows.npy --max_len 3 --quiet").code, 0);
  const Result one = run("search --index rows.npy --text 'thing thing thing 1'");
  EXPECT_TRUE(has(one.err, "--max_len 3 cut the text; the vectors do not cover the cut part")) << one.err;
  EXPECT_TRUE(has(run("search --index rows.npy --input rows.jsonl").err, kTwo));
  EXPECT_FALSE(has(run("search --index rows.npy --text a").err, "cut"));
  const Result explained = run("explain --model_name model --text 'thing thing thing 1' --max_len 3");
  EXPECT_TRUE(has(explained.err, "--max_len 3 cut the text;")) << explained.err;
  const std::string scored = "explain --model_name model --max_len 3 --text a --target 'thing thing thing 1' ";
  EXPECT_TRUE(has(run(scored).err, "--max_len 3 cut 1 of 2 texts, first: the target;"));
  EXPECT_FALSE(Json::parse(run(scored + "--json").out).at("cut"));
}

TEST_F(CutText, Eval) {
  Json row = {{"qry_text", "a"}, {"qry_img_path", ""}, {"tgt_img_path", {"", ""}}};
  row["tgt_text"] = {"thing thing thing 1", "thing thing thing 2"};
  write("test/Set/test.jsonl", row.dump() + "\n");
  const std::string eval = "eval --model_name model --dataset_name test --encode_output_path out --max_len 3";
  for (int i = 0; i < 2; ++i) {  // the second keeps what the first has written
    const Result r = run(eval);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.out, "out: --max_len 3 cut 2 of 3 texts, first: row 1 of Set, candidate 1 (index 0); "))
        << r.out;
    EXPECT_EQ(read_json(folder_ / "out/Set_score.json").at("num_cut"), 2);
    const Json set = read_json(folder_ / "out/summary.json").at("datasets").at("Set");
    EXPECT_EQ(set.at("cut"), 2);
    EXPECT_EQ(set.at("texts"), 3);
  }
}

// Once for each step, however often GradCache reads a text.
TEST_F(CutText, Train) {
  std::string rows;
  for (int i = 0; i < 4; ++i)
    rows += Json{{"qry", i == 0 ? "thing thing thing 1" : "a"},
                 {"qry_image_path", ""},
                 {"pos_text", "b" + std::string(size_t(i), 'b')},
                 {"pos_image_path", ""}}
                .dump() +
            "\n";
  write("train/Set/original.jsonl", rows);
  for (const char* chunks : {"", " --gc_q_chunk_size 2 --gc_p_chunk_size 2"}) {
    const Result r = run(std::string("train --model_name model --dataset_name train --output_dir out --max_steps 2 "
                                     "--per_device_train_batch_size 4 --max_len 5 --overwrite_output_dir True") +
                         chunks);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(has(r.err, "--max_len 5 cut 2 of 16 texts, first: row 1 of Set; ")) << r.err;
    std::istringstream log(read_text(folder_ / "out/log.jsonl"));
    for (std::string line; std::getline(log, line);) EXPECT_EQ(Json::parse(line).at("cut_texts"), 1);
  }
}

}  // namespace
}  // namespace vlm2vec
