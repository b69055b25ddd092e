#include "mmeb/evaluation/leaderboard.h"

#include "cli_fixture.h"
#include "expect_error.h"
#include "mmeb/evaluation/metrics.h"

namespace vlm2vec {
namespace {

void write_score(const fs::path& file, double hit) {
  Json score;
  for (const auto& [key, value] : ranking_metrics(RankedNames{})) score[key] = 0.5;
  score["hit@1"] = hit, score["num_pred"] = 1000, score["num_data"] = 1000, score["acc"] = hit;
  fs::create_directories(file.parent_path());
  write_text(file, score.dump());
}

TEST(Leaderboard, scores_and_what_is_absent) {
  const TemporaryFolder folder("leaderboard");
  write_score(folder / "GQA_score.json", 0.25);
  write_score(folder / "Mine_score.json", 1);
  write_score(folder / "visdoc/ViDoSeek-page_score.json", 0.75);
  const auto report = leaderboard_json(folder.path(), {"a model"});
  const auto& image = report["metrics"]["image"];
  EXPECT_EQ(image.size(), 36u);
  EXPECT_EQ(image["GQA"]["hit@1"], 0.25);
  EXPECT_EQ(image["GQA"].size(), 26u);  // 24 metrics and two counts, nothing of V1 or ours
  EXPECT_EQ(image["DocVQA"], "FILE_N/A");
  EXPECT_EQ(report["metrics"]["video"].size(), 18u);
  EXPECT_EQ(report["metrics"]["video"]["MVBench"], "DIR_N/A");
  EXPECT_EQ(report["metrics"]["visdoc"].size(), 24u);
  EXPECT_EQ(report["metrics"]["visdoc"]["ViDoSeek-page-fixed"]["hit@1"], 0.75);
  EXPECT_EQ(report["metrics"]["visdoc"]["MMLongBench-page-fixed"], "FILE_N/A");
  EXPECT_EQ(report["metadata"]["model_name"], "a model");
  EXPECT_EQ(report["metadata"]["data_source"], "Self-Reported");
  EXPECT_TRUE(report["metadata"]["embedding_dimension"].is_null());
  EXPECT_EQ(report["metadata"]["report_generated_date"].get<std::string>().size(), 26u);
}

TEST(Leaderboard, refuses_what_are_no_scores) {
  const TemporaryFolder folder("leaderboard");
  expect_error(Exit::data, "has no scores; only MMEB's 36 sets count", [&] { leaderboard_json(folder.path(), {"m"}); });
  write_text(folder / "GQA_score.json", R"({"acc": 0.5, "num_correct": 500})");  // V1's form, which is turned away
  expect_error(Exit::data, "has no hit@1", [&] { leaderboard_json(folder.path(), {"m"}); });
  expect_error(Exit::data, "no such folder", [&] { leaderboard_json(folder / "none", {"m"}); });
}

// From rows of a set of MMEB to the leaderboard's file, by the program; no tasks.json is needed.
TEST_F(Cli, EvaluatesForTheLeaderboard) {
  make_model();
  fs::remove(folder_ / "test/tasks.json");
  fs::rename(folder_ / "test/Set", folder_ / "test/VOC2007");
  const Result eval = run("eval --model_name model --dataset_name test --encode_output_path scores");
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_TRUE(has(eval.out, "35 are missing")) << eval.out;
  for (const char* file : {"_score.json", "_pred.jsonl", "_pred.txt", "_info.jsonl", "_qry.npy", "_qry_ids.jsonl",
                           "_tgt.npy", "_tgt_ids.jsonl"})
    EXPECT_TRUE(fs::exists(folder_ / (std::string("scores/VOC2007") + file))) << file;
  const Result board = run("leaderboard scores --output m.json --model_name M --embedding_dimension 16 --json");
  ASSERT_EQ(board.code, 0) << board.err;
  EXPECT_EQ(Json::parse(board.out).at("image").at("scored"), 1);
  const Json report = read_json(folder_ / "m.json");
  EXPECT_EQ(report["metrics"]["image"]["VOC2007"]["num_data"], 3);
  EXPECT_EQ(report["metadata"]["embedding_dimension"], 16);
  EXPECT_EQ(run("leaderboard model --output m.json --model_name M").code, 3);

  const std::string light = "eval --model_name model --dataset_name test --encode_output_path light --quiet ";
  ASSERT_EQ(run(light + "--save_embeddings False").code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "light/VOC2007_qry.npy"));
  EXPECT_EQ(read_text(folder_ / "light/VOC2007_score.json"), read_text(folder_ / "scores/VOC2007_score.json"));

  // Other candidates, or a set of another evaluation, are not mixed in.
  const std::string cut = "eval --model_name model --dataset_name test --encode_output_path cut --quiet ";
  ASSERT_EQ(run(cut + "--num_candidates 2").code, 0);
  EXPECT_TRUE(has(run("leaderboard cut --output n.json --model_name M").err, "with --num_candidates"));
  EXPECT_TRUE(has(run("compare scores cut").err, "--num_candidates 2, scores with 0"));
  const Result other = run(cut);  // would replace it
  EXPECT_EQ(other.code, 2);
  EXPECT_TRUE(has(other.err, "eval: cut: has an evaluation with --num_candidates 2, now it is 0; choose another"))
      << other.err;
  fs::remove_all(folder_ / "cut");
  ASSERT_EQ(run(cut).code, 0);
  ASSERT_EQ(run(cut + "--per_device_eval_batch_size 2").code, 0);  // the same one again
  Json summary = read_json(folder_ / "cut/summary.json");
  summary["datasets"]["VOC2007"]["eval_type"] = "global";
  const std::string local = read_text(folder_ / "cut/summary.json");
  write_json(folder_ / "cut/summary.json", summary);
  EXPECT_TRUE(has(run("leaderboard cut --output n.json --model_name M").err, "eval_type global"));
  write_text(folder_ / "cut/summary.json", local);
  fs::copy_file(folder_ / "cut/VOC2007_score.json", folder_ / "cut/N24News_score.json");
  EXPECT_TRUE(has(run("leaderboard cut --output n.json --model_name M").err, "belongs to another evaluation"));
}

// num_sample_per_subset takes the first rows of a set, perhaps all of them.
TEST_F(Cli, LeaderboardRefusesCutSets) {
  make_model();
  for (const std::string limit : {"2", "3", "9"}) {
    write("sets.yaml",
          "VOC2007: {dataset_parser: image_cls, dataset_name: test/Set, image_root: test, num_sample_per_subset: " +
              limit + "}\n");
    const Result eval =
        run("eval --model_name model --dataset_config sets.yaml --encode_output_path rows" + limit + " --quiet");
    ASSERT_EQ(eval.code, 0) << eval.err;
    EXPECT_EQ(
        read_json(folder_ / ("rows" + limit) / "summary.json")["datasets"]["VOC2007"].value("num_sample_per_subset", 0),
        limit == "2" ? 2 : 0);
  }
  EXPECT_TRUE(has(run("compare rows9 rows2").err, "VOC2007 has 2 rows, in rows9 3"));
  const Result cut = run("leaderboard rows2 --output m.json --model_name M");
  EXPECT_EQ(cut.code, 3);
  EXPECT_TRUE(has(cut.err, "VOC2007_score.json: is of the first 2 rows (num_sample_per_subset)")) << cut.err;
  for (const char* whole : {"rows3", "rows9"})
    EXPECT_EQ(run(std::string("leaderboard ") + whole + " --output m.json --model_name M").code, 0) << whole;
  fs::remove(folder_ / "rows2/summary.json");  // as an evaluation that was not finished leaves it
  EXPECT_TRUE(has(run("leaderboard rows2 --output m.json --model_name M").err, "the evaluation is not finished"));
}

TEST_F(Cli, EvaluatesCaptionedPictures) {
  make_model();
  write("test/flickr.jsonl", R"({"filename": "p0.png", "caption": ["thing 0", "thing"]})"
                             "\n"
                             R"({"filename": "p1.png", "caption": ["thing 1"]})"
                             "\n");
  const std::string eval = "eval --model_name model --retrieval_file test/flickr.jsonl --encode_output_path scores ";
  const Result r = run(eval + "--json");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(Json::parse(r.out).at("flickr_i2t").at("recall@5"), 100);
  EXPECT_TRUE(has(run(eval).out, "flickr_t2i")) << r.out;
  EXPECT_EQ(run(eval + "--dataset_name test").code, 2);
  EXPECT_EQ(run(eval + "--subset_name Set").code, 2);
  EXPECT_EQ(run("eval --model_name model --encode_output_path scores").code, 2);
}

}  // namespace
}  // namespace vlm2vec
