// Comparing two evaluations: what their files say, and what is refused.
#include "mmeb/evaluation/comparison.h"

#include "cli_fixture.h"
#include "expect_error.h"
#include "mmeb/evaluation/leaderboard.h"
#include "mmeb/evaluation/metrics.h"

namespace vlm2vec {
namespace {

Json set(const char* meta_task, const char* split, const std::string& right) {
  return {{"meta_task", meta_task}, {"split", split}, {"rows", right.size()}, {"right", right}, {"rows_sha256", "same"},
          {"accuracy", 0},          {"chance", 0},    {"correct", 0},         {"ties", 0},      {"ties_last", 0}};
}

class Compare : public Cli {
 protected:
  void SetUp() override {
    Json a = {{"One", set("vqa", "IND", "11000000")},
              {"Two", set("vqa", "OOD", "1111")},
              {"Same", set("grounding", "IND", "01100")}};
    Json b = {{"One", set("vqa", "IND", "01111111")},  // loses 1, wins 6
              {"Two", set("vqa", "OOD", "1110")},      // loses 1
              {"Same", a["Same"]}};
    a["OnlyA"] = b["OnlyB"] = set("vqa", "IND", "1");
    write_summary("a", a), write_summary("b", b);
  }
  void write_summary(const std::string& folder, const Json& sets, const Json& options = Json::object()) const {
    write(folder + "/summary.json", Json{{"datasets", sets}, {"precision", "f32"}, {"options", options}}.dump());
  }
};

TEST_F(Compare, SaysWhereTheyDiffer) {
  const Result r = run("compare a b --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const Json c = Json::parse(r.out), one = c["datasets"]["One"], overall = c["groups"]["overall"];
  EXPECT_EQ(one["a"], 25.0);
  EXPECT_EQ(one["b"], 87.5);
  EXPECT_EQ(one["difference"], 62.5);
  EXPECT_LT(one["low"], 40.0);
  EXPECT_EQ(one["high"], 100.0);
  EXPECT_EQ(one["only_a"], 1);
  EXPECT_EQ(one["only_b"], 6);
  EXPECT_NEAR(one["p"].get<double>(), 0.125, 1e-12);       // 2 (1 + 7) / 2^7
  EXPECT_NEAR(one["p_holm"].get<double>(), 0.375, 1e-12);  // three sets
  EXPECT_EQ(c["datasets"]["Same"]["difference"], 0.0);
  EXPECT_EQ(c["datasets"]["Same"]["p"], 1.0);
  EXPECT_NEAR(overall["difference"].get<double>(), (62.5 - 25 + 0) / 3, 1e-12);
  EXPECT_EQ(overall["only_a"], 2);
  EXPECT_EQ(overall["only_b"], 6);
  EXPECT_NEAR(overall["p"].get<double>(), 2 * (1 + 8 + 28) / 256.0, 1e-12);
  EXPECT_EQ(c["groups"]["OOD"]["difference"], -25.0);
  EXPECT_FALSE(c["groups"].contains("retrieval"));
  EXPECT_EQ(c["only_in_a"], Json{"OnlyA"});
  EXPECT_EQ(c["only_in_b"], Json{"OnlyB"});
  EXPECT_EQ(run("compare a b --json").out, r.out);

  const Json back = Json::parse(run("compare b a --json").out);
  EXPECT_EQ(back["datasets"]["One"]["difference"], -62.5);
  EXPECT_EQ(back["datasets"]["One"]["p"], one["p"]);
  const Result table = run("compare a b");
  for (const char* part : {"One", "+62.5", "overall", "Only A has OnlyA", "Only B has OnlyB"})
    EXPECT_TRUE(has(table.out, part)) << part << " in\n" << table.out;
}

TEST_F(Compare, RefusesOtherRows) {
  const auto changed = [](const char* key, const Json& value) {
    Json one = set("vqa", "IND", "01111111");
    one[key] = value;
    return Json{{"One", one}};
  };
  struct Case {
    Json sets;
    std::string error;
  };
  Json without = changed("rows", 8);
  without["One"].erase("right");
  const Case cases[] = {{{{"One", set("vqa", "IND", "0111111")}}, "One has 7 rows, in a 8 (pictures"},
                        {changed("rows_sha256", "other"), "One has 8 rows, in a 8 different ones"},
                        {changed("eval_type", "global"), "One was ranked with eval_type global, in a local"},
                        {changed("split", "OOD"), "different means"},
                        {changed("right", "01"), "does not say which of the 8 rows of One are right"},
                        {changed("right", "0111111x"), "does not say which"},
                        {without, "does not say which"},
                        {changed("meta_task", 3), "One: meta_task is a whole number"},
                        {Json::object(), "no set in common"}};
  for (const Case& c : cases) {
    write_summary("b", c.sets);
    const Result r = run("compare a b");
    EXPECT_EQ(r.code, 3) << c.error;
    EXPECT_TRUE(has(r.err, c.error)) << c.error << " in " << r.err;
  }
  write_summary("b", changed("rows", 8), {{"num_candidates", 5}});
  EXPECT_TRUE(has(run("compare a b").err, "b: was evaluated with --num_candidates 5, a with 0"));
  EXPECT_EQ(run("compare a").code, 2);
}

// Whatever stands in a summary: one sentence that names file and field.
TEST_F(Compare, RefusesOddSummaries) {
  struct Case {
    const char *place, *value, *error;
  };
  const Case cases[] = {
      {"", "[]", " is a list, expected an object"},
      {"", "null", " is null, expected an object"},
      {"", "{", ": not valid JSON near byte 2"},
      {"", "{}", ": datasets is missing"},
      {"/datasets", "[]", ": datasets is a list, expected an object"},
      {"/datasets", R"("GQA")", ": datasets is a string, expected an object"},
      {"/datasets/GQA", "3", ": GQA is a whole number, expected an object"},
      {"/datasets/GQA", "{}", ": GQA: meta_task is missing"},
      {"/datasets/GQA/split", "null", ": GQA: split is null, expected a string"},
      {"/datasets/GQA/optional", "0", ": GQA: optional is a whole number, expected true or false"},
      {"/datasets/GQA/accuracy", R"("high")", ": GQA: accuracy is a string, expected a number"},
      {"/datasets/GQA/chance", "[1]", ": GQA: chance is a list, expected a number"},
      {"/datasets/GQA/rows", "4.5", ": GQA: rows is a number, expected a whole number"},
      {"/datasets/GQA/rows", "0", ": GQA: correct is 0 of 0 rows"},
      {"/datasets/GQA/correct", "5", ": GQA: correct is 5 of 4 rows"},
      {"/datasets/GQA/correct", "-1", ": GQA: correct is -1 of 4 rows"},
      {"/datasets/GQA/ties", "{}", ": GQA: ties is an object, expected a whole number"},
      {"/datasets/GQA/ties_last", "true", ": GQA: ties_last is true or false, expected a whole number"},
      {"/datasets/GQA/right", "1011", ": GQA: right is a whole number, expected a string"},
      {"/datasets/GQA/rows_sha256", "{}", ": GQA: rows_sha256 is an object, expected a string"},
      {"/datasets/GQA/eval_type", "false", ": GQA: eval_type is true or false, expected a string"},
      {"/datasets/GQA/eval_type", R"("all")", ": GQA: eval_type is all, expected local or global"},
      {"/datasets/GQA/num_sample_per_subset", R"("2")", ": GQA: num_sample_per_subset is a string, expected a whole"},
      {"/precision", "16", ": precision is a whole number, expected a string"},
      {"/options", "[]", ": options is a list, expected an object"},
      {"/options", R"("none")", ": options is a string, expected an object"},
      {"/options/num_candidates", R"("5")", ": options: num_candidates is a string, expected a whole number"},
      {"/options/num_candidates", "null", ": options: num_candidates is null, expected a whole number"},
      {"/options/dataset_name", "[]", ": options: dataset_name is a list, expected a string"}};
  const Json sound = {{"datasets", {{"GQA", set("vqa", "IND", "1011")}}},
                      {"precision", "f32"},
                      {"options", {{"num_candidates", 0}, {"of_another_version", {1}}}}};
  Json score = {{"num_pred", 4}};
  for (const auto& [key, value] : ranking_metrics(RankedNames{})) score[key] = value;
  for (const char* folder : {"sound", "odd"}) {
    write(std::string(folder) + "/summary.json", sound.dump());
    write(std::string(folder) + "/GQA_score.json", score.dump());
  }
  const std::string board = "leaderboard odd --output m.json --model_name M", compare = "compare sound odd";
  ASSERT_EQ(run(compare).code + run(board).code, 0) << run(compare).err << run(board).err;
  for (const Case& c : cases) {
    std::string text = c.value;
    if (*c.place) {
      Json odd = sound;
      odd[Json::json_pointer(c.place)] = Json::parse(c.value);
      text = odd.dump();
    }
    write("odd/summary.json", text);
    expect_error(Exit::data, std::string("odd/summary.json") + c.error,
                 [&] { compare_evaluations(folder_ / "sound", folder_ / "odd", 1); });
    expect_error(Exit::data, std::string("odd/summary.json") + c.error,
                 [&] { leaderboard_json(folder_ / "odd", {"M"}); });
  }
}

TEST_F(Compare, SaysWhatAFolderIsNot) {
  write("c/file", "");
  for (const std::string command :
       {"compare a ", "eval --model_name m --dataset_name d --encode_output_path o --beside "}) {
    const Result absent = run(command + "nowhere"), other = run(command + "c");
    EXPECT_EQ(absent.code, 3);
    EXPECT_TRUE(has(absent.err, "nowhere: there is no such folder")) << absent.err;
    EXPECT_EQ(other.code, 3);
    EXPECT_TRUE(has(other.err, "c: is not a finished evaluation")) << other.err;
  }
}

}  // namespace
}  // namespace vlm2vec
