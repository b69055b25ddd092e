// The report of a run: its numbers are those of the files, its text is escaped, and what is missing is said.
#include <cmath>

#include "cli_fixture.h"
#include "mmeb/evaluation/summary.h"
#include "show/chart.h"
#include "show/sections.h"

namespace vlm2vec {
namespace {

std::string log_line(int step, double loss) {
  return Json{{"step", step},
              {"epoch", 0.5},
              {"pairs", 4},
              {"skipped", 0},
              {"tokens_without_picture", 0},
              {"loss", loss},
              {"grad_norm", 2.0},
              {"learning_rate", 1e-3},
              {"in_batch_accuracy", 0.5},
              {"duplicates", 0.25},
              {"seconds", 0.5},
              {"data_seconds", 0.05},
              {"embed_seconds", 0.2},
              {"loss_seconds", 0.05},
              {"backward_seconds", 0.15},
              {"optimiser_seconds", 0.05},
              {"peak_bytes", 3000000 + step}}
             .dump() +
         "\n";
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++n;
  return n;
}

class Report : public Cli {
 protected:
  // A run as make demo leaves it: an evaluation of random weights under two names, and a training's log.
  void make_run() const {
    make_model();
    write("test/Set/test.jsonl", Json{{"qry_text", "<|image_1|>\nName <b>it</b>.\n"},
                                      {"qry_img_path", "p0.png"},
                                      {"tgt_text", {"<script>alert(1)</script>", "thing & 7"}},
                                      {"tgt_img_path", {"", ""}}}
                                         .dump() +
                                     "\n");
    for (const char* name : {"untrained", "trained"}) {
      const Result eval =
          run(std::string("eval --model_name model --dataset_name test --quiet --encode_output_path run/") + name);
      ASSERT_EQ(eval.code, 0) << eval.err;
    }
    write("run/model/log.jsonl", log_line(1, 3.0) + log_line(2, 2.0) + log_line(3, 1.0));
    write("run/model/training_options.json", R"({"model_name": "model", "max_steps": 3, "run_name": "a <run>"})");
  }
  std::string page(const std::string& file = "run/report.html") const { return read_text(folder_ / file); }
};

TEST_F(Report, NumbersAreThoseOfTheFilesAndTextIsEscaped) {
  make_run();
  const Result result = run("report run --json");
  ASSERT_EQ(result.code, 0) << result.err;
  const Json said = Json::parse(result.out);
  EXPECT_EQ(said["steps"], 3);
  EXPECT_EQ(said["evaluations"], 2);
  EXPECT_EQ(said["examples"], 1);
  EXPECT_EQ(said["pictures"], 1);
  EXPECT_EQ(said["missing"], Json::array());
  const std::string html = page();
  const Summary summary = read_summary(folder_ / "run/trained");
  EXPECT_TRUE(has(html, "<b>" + fixed(summary.overall, 1) + " %</b><span>Overall, trained</span>"));
  EXPECT_TRUE(has(html, "ln 4 = 1.39"));
  EXPECT_TRUE(has(html, "3 steps took 2 s: 8 pairs a second")) << "12 pairs in 1.5 s";
  EXPECT_TRUE(has(html, "forward <b>40.0 %</b>"));
  EXPECT_TRUE(has(html, "step 2\nloss 2</title>"));
  EXPECT_TRUE(has(html, " train --model_name model --max_steps 3 --run_name &#39;a &lt;run&gt;&#39;"));
  EXPECT_EQ(count(html, "<script"), 1u) << "the page's own";
  EXPECT_TRUE(has(html, "&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_TRUE(has(html, "Name &lt;b&gt;it&lt;/b&gt;."));
  EXPECT_EQ(count(html, "src="), 0u);
  EXPECT_EQ(count(html, "data:image/webp;base64,"), 1u) << "a picture that is shown several times is there once";
  EXPECT_GE(count(html, "href=\"#p1\""), 3u);
  EXPECT_FALSE(has(html, "It rises") || has(html, "It falls")) << "the learning rate is constant";
  std::string first = log_line(1, 3.0);
  first.replace(first.find("0.001"), 5, "0.0005");
  write("run/model/log.jsonl", first + log_line(2, 2.0) + log_line(3, 1.0));
  ASSERT_EQ(run("report run").code, 0);
  EXPECT_TRUE(has(page(), "It rises at the beginning") && !has(page(), "It falls"));
}

TEST_F(Report, OfOneSetFromElsewhere) {
  make_run();
  const std::string place = fs::canonical(folder_.path()).string();
  ASSERT_EQ(run("report '" + place + "/run'", "cd / && ").code, 0);
  const std::string html = page();
  EXPECT_TRUE(has(html, "<h1>A VLM2Vec run: ")) << html.substr(0, 600);
  EXPECT_TRUE(has(html, "Precision@1, of one set, Set, 95 % interval"));
  EXPECT_TRUE(has(html, "<h2>Examples</h2>")) << "the data is found";
  write("data/manifest.json", R"({"format": "vlm2vec miniature MMEB 1", "seed": 42, "train_rows": 5, "test_rows": 3})");
  write("run/model/training_options.json", R"({"model_name": "model", "dataset_name": "data/MMEB-train"})");
  ASSERT_EQ(run("report run").code, 0);
  const std::string here = page();
  EXPECT_TRUE(has(here, "<title>A VLM2Vec run: run</title>"));
  EXPECT_TRUE(has(here, " eval --model_name model --dataset_name test --encode_output_path run/trained\n"))
      << "as seen from where the report was made";
  EXPECT_TRUE(has(here, " data mini --output_dir data --train_rows 5 --test_rows 3 --seed 42\n"));
  EXPECT_TRUE(has(here, "Training began with the model in model, which these commands do not create"));
}

// As many rows of the one set as there is place for, each with another target.
TEST_F(Report, ABatchOfOneSetHasItsRows) {
  make_run();
  std::string rows;
  for (int i = 0; i < 5; ++i)
    rows += Json{{"qry_text", "Name it."},
                 {"qry_img_path", ""},
                 {"tgt_text", {"thing " + std::to_string(i), "x"}},
                 {"tgt_img_path", {"", ""}}}
                .dump() +
            "\n";
  write("test/Set/test.jsonl", rows);
  ASSERT_EQ(run("eval --model_name model --dataset_name test --quiet --encode_output_path run/trained").code, 0);
  ASSERT_EQ(run("report run/trained --output one.html").code, 0);
  EXPECT_TRUE(has(page("one.html"), "similarities of 5 queries and targets"));
  EXPECT_TRUE(has(page("one.html"), "style=\"max-width:267px\""));
}

TEST_F(Report, SaysWhatIsMissing) {
  make_run();
  const Result training = run("report run/model --output training.html");
  EXPECT_EQ(training.code, 0) << training.err;
  EXPECT_TRUE(has(training.err, "There are no scores and examples")) << training.err;
  EXPECT_TRUE(has(page("training.html"), "There are no scores and examples"));
  EXPECT_TRUE(has(page("training.html"), "<h3>Loss</h3>"));

  fs::remove(folder_ / "run/trained/Set_qry.npy");
  const Result evaluation = run("report run/untrained run/trained --output evaluation.html");
  EXPECT_EQ(evaluation.code, 0) << evaluation.err;
  EXPECT_TRUE(has(evaluation.err, "There are no curves")) << evaluation.err;
  EXPECT_TRUE(has(evaluation.err, "Set in trained are not shown: its vectors were not kept")) << evaluation.err;
  EXPECT_TRUE(has(page("evaluation.html"), "<h2>Scores</h2>"));
  EXPECT_FALSE(has(page("evaluation.html"), "<h2>Examples</h2>"));
}

TEST_F(Report, RefusesWhatIsNoRun) {
  write("empty/file", "");
  write("bad/log.jsonl", "{\"step\": 1}\n");
  write("model/log.jsonl", log_line(1, 1));
  write("other/log.jsonl", log_line(1, 1));
  for (const auto& [arguments, words] :
       std::vector<std::pair<std::string, std::string>>{{"empty", "empty: is not a run; expected log.jsonl"},
                                                        {"absent", "absent: there is no such folder; expected"},
                                                        {"bad", "log.jsonl:1: epoch is not a number"},
                                                        {"model other", "is a second training beside"}}) {
    const Result result = run("report " + arguments);
    EXPECT_EQ(result.code, 3) << result.err;
    EXPECT_TRUE(has(result.err, words)) << result.err;
    EXPECT_FALSE(fs::exists(folder_ / arguments.substr(0, arguments.find(' ')) / "report.html"));
  }
}

TEST(ReportChart, TicksAreRound) {
  EXPECT_EQ(linear_ticks(0, 100), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(linear_ticks(1, 7), (std::vector<double>{2, 4, 6}));
  EXPECT_EQ(logarithmic_ticks(0.3, 6), (std::vector<double>{0.5, 1, 2, 5}));
  EXPECT_EQ(logarithmic_ticks(0.01, 1000).size(), 6u) << "powers of ten only";
  EXPECT_EQ(readable(1234567), "1,234,567");
  EXPECT_EQ(readable(0.25), "0.25");
}

TEST(ReportChart, PlacesPoints) {
  const ChartScale linear{0, 10, 100, 200}, logarithmic{1, 100, 200, 0, true};
  EXPECT_DOUBLE_EQ(linear(2.5), 125);
  EXPECT_DOUBLE_EQ(logarithmic(10), 100);
  EXPECT_DOUBLE_EQ(logarithmic(100), 0);
  const std::string html = svg({.title = "a <title>", .x_name = "step", .series = {{"loss", "blue", {0, 10}, {0, 4}}}});
  EXPECT_TRUE(has(html, "points=\"48.0,212.0 468.0,34.0 \"")) << html;
  EXPECT_TRUE(has(html, "aria-label=\"a &lt;title&gt;\"")) << html;
  EXPECT_TRUE(has(html, "step 10\nloss 4</title>")) << html;
}

TEST(ReportChart, SmoothsAndKeepsExtremes) {
  std::vector<double> x, y;
  for (int i = 0; i < 100; ++i) x.push_back(i), y.push_back(i == 50 ? 11 : 1);
  const ChartSeries series = smoothed("loss", "blue", x, y, 5, 10);
  ASSERT_EQ(series.x.size(), 10u);
  EXPECT_EQ(series.x.back(), 99);
  EXPECT_EQ(series.low[5], 1);
  EXPECT_EQ(series.high[5], 11) << "steps 50 to 59";
  EXPECT_EQ(series.y[5], 1) << "steps 52 to 56";
  EXPECT_EQ(smoothed("loss", "blue", x, y, 5).y[50], 3) << "the mean of 48 to 52";
}

}  // namespace
}  // namespace vlm2vec
