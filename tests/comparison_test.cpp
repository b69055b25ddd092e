// Comparing two evaluations: what their files say, and what is refused.
#include "mmeb/evaluation/comparison.h"

#include "cli_fixture.h"
#include "expect_error.h"

namespace vlm2vec {
namespace {

// Predictions of `rows` rows, of which those in `right` are right; labels "r0", "r1", ….
std::string predictions(int rows, const std::set<int>& right) {
  std::string lines;
  for (int i = 0; i < rows; ++i) {
    const std::string label = "r" + std::to_string(i);
    const std::vector<std::string> ranked =
        right.contains(i) ? std::vector{label, std::string("x")} : std::vector{std::string("x"), label};
    lines += nlohmann::ordered_json{{"prediction", ranked}, {"label", {label}}, {"rel_scores", nullptr}}.dump() + "\n";
  }
  return lines;
}
Json task(const char* meta_task, const char* split) { return {{"meta_task", meta_task}, {"split", split}}; }

class Compare : public Cli {
 protected:
  void SetUp() override {
    const Json sets = {{"One", task("vqa", "IND")}, {"Two", task("vqa", "OOD")}, {"Same", task("grounding", "IND")}};
    for (const char* folder : {"a", "b"}) {
      Json mine = sets;
      mine[folder == std::string("a") ? "OnlyA" : "OnlyB"] = task("vqa", "IND");
      write(std::string(folder) + "/summary.json", Json{{"datasets", mine}}.dump());
      write(std::string(folder) + "/Same_pred.jsonl", predictions(5, {1, 2}));
    }
    write("a/One_pred.jsonl", predictions(8, {0, 1}));
    write("b/One_pred.jsonl", predictions(8, {1, 2, 3, 4, 5, 6, 7}));  // loses 1, wins 6
    write("a/Two_pred.jsonl", predictions(4, {0, 1, 2, 3}));
    write("b/Two_pred.jsonl", predictions(4, {0, 1, 2}));  // loses 1
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
  struct Case {
    std::string file, text, error;
    int code = 3;
  };
  std::string other_label = predictions(8, {});
  other_label.replace(other_label.rfind("r7"), 2, "s7");
  const Case cases[] = {
      {"b/One_pred.jsonl", predictions(7, {}), "has 7 rows"},
      {"b/One_pred.jsonl", other_label, "another label in row 8"},
      {"b/One_pred.jsonl", "{\"row\": 0, \"prediction\": 0}\n", "One_pred.jsonl:1: prediction is 0"},
      {"b/One_pred.jsonl", R"({"prediction": ["a", 7], "label": ["a"]})", "prediction[1] is 7"},
      {"b/One_pred.jsonl", R"({"prediction": ["a", "b)", "not valid JSON"},
      {"b/One_pred.jsonl", R"({"prediction": [], "label": ["a"]})", "prediction is empty"},
      {"b/summary.json", R"({"datasets": {"One": {"accuracy": 3}}})", "meta_task"},
      {"b/summary.json", R"({"datasets": {"One": {"meta_task": "vqa", "split": "OOD"}}})", "different means"},
      {"b/summary.json", R"({"datasets": {}})", "no set in common"}};
  for (const Case& c : cases) {
    SetUp();
    write(c.file, c.text);
    const Result r = run("compare a b");
    EXPECT_EQ(r.code, c.code) << c.error;
    EXPECT_TRUE(has(r.err, c.error)) << c.error << " in " << r.err;
  }
  EXPECT_EQ(run("compare a").code, 2);
  EXPECT_EQ(run("compare a c").code, 3);
}

// The losers of a prediction are skipped unread; names may hold all that JSON can write.
TEST_F(Compare, NamesMayHoldAnything) {
  const std::vector<std::string> names = {"a\"", "\\", "b\\\"]", "\", \"", "é\n", "[", "", "\\\\\""};
  for (const std::string& first : names)
    for (const std::string& second : names)
      for (const char* tail : {", \"label\": ", ",\"x\":[\"]\"],\"label\": "}) {
        const bool blank = tail[1] == ' ';
        const std::string line = std::string("{\"prediction\":") + (blank ? " [" : "[") + Json(first).dump() +
                                 (blank ? ", " : ",") + Json(second).dump() + "]" + tail + Json{second}.dump() + "}\n";
        write("c/S_pred.jsonl", line);
        const Outcomes o = read_outcomes(folder_ / "c", "S");
        ASSERT_EQ(o.right, std::vector<uint8_t>{first == second}) << line;
        ASSERT_EQ(o.labels[0], std::vector<std::string>{second}) << line;
      }
  write("c/S_pred.jsonl", "{ \"label\":[\"x\",\"y\"],\"prediction\":[\"y\",\"z\"]}\n");  // another writer's spelling
  EXPECT_EQ(read_outcomes(folder_ / "c", "S").right, std::vector<uint8_t>{1});
}

}  // namespace
}  // namespace vlm2vec
