#include "mmeb/evaluation/evaluator.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "allocations.h"
#include "expect_error.h"
#include "io/files.h"
#include "letters_fixture.h"
#include "mmeb/evaluation/ranking.h"
#include "mmeb/evaluation/score_table.h"
#include "tiny_model.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

TEST(Rank, first_among_equals_wins) {
  const Tensor embeddings = from_vector<float>({1, 0, 1, 0, 0, 1, 0.5f, 0.5f}, {4, 2});
  EvaluationSet set;  // candidate i is side i
  for (int32_t i = 0; i < 4; ++i) set.candidates.push_back({i, ""});
  set.queries = {0, 0, 2, 2};
  for (const std::vector<int32_t>& list : {std::vector{0, 1, 2}, {3, 0, 1}, {0, 1, 2}, {2, 3}})
    set.lists.emplace_back(list);
  const auto rows = rank(embeddings, set, set.queries);
  std::vector<int32_t> best;
  for (const RowResult& row : rows) best.push_back(row.best);
  EXPECT_EQ(best, (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_TRUE(rows[0].correct && rows[0].tie());  // its positive ties with candidate 1
  EXPECT_TRUE(!rows[1].correct && !rows[1].tie() && rows[3].correct && !rows[3].tie());
  const Scorer scorer(embeddings, Score::dot);
  const std::vector<int32_t> third = {0, 1, 2}, second = {3, 0, 1};
  EXPECT_EQ(best_first(scorer(2, third)), (std::vector<int32_t>{2, 0, 1}));
  EXPECT_EQ(best_first(scorer(0, second), 2), (std::vector<int32_t>{1, 2}));
}

TEST(ScoreTable, keeps_long_names_apart) {
  Summary summary;
  summary.overall = 12.5;
  const std::string table = score_table({{"a_folder_with_a_long_name", summary}, {"another_one_like_it", summary}}),
                    rule(24 + 2 * 27 + 16, '-');
  EXPECT_NE(table.find(" a_folder_with_a_long_name        another_one_like_it "), std::string::npos) << table;
  EXPECT_NE(table.find("\n" + rule + "\n"), std::string::npos) << table;
}

TEST(CandidateList, has_the_positive_first) {
  const auto shared = std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{5, 6, 7, 8});
  EXPECT_EQ(CandidateList(shared, 0).numbers(), (std::vector<int32_t>{5, 6, 7, 8}));
  EXPECT_EQ(CandidateList(shared, 2).numbers(), (std::vector<int32_t>{7, 5, 6, 8}));
  EXPECT_EQ(CandidateList(shared, 3).numbers(), (std::vector<int32_t>{8, 5, 6, 7}));
}

TEST(CandidateList, takes_its_numbers_over) {
  static_assert(!std::is_convertible_v<std::vector<int32_t>, CandidateList>);
  if (!allocations_are_counted) GTEST_SKIP() << "allocations are not counted under the sanitizers";
  std::vector<int32_t> numbers(1 << 20);
  reset_peak_allocated();
  const CandidateList list(std::move(numbers));
  EXPECT_EQ(list.size(), size_t(1 << 20));
  EXPECT_LT(peak_allocated(), 1024);
}

TEST(EvaluationSet, keeps_a_text_once) {
  if (!allocations_are_counted) GTEST_SKIP() << "allocations are not counted under the sanitizers";
  const int64_t rows = 100, length = 100'000;
  EvaluationSet set;
  reset_peak_allocated();
  for (int64_t i = 0; i < rows; ++i)
    set.add({{std::to_string(i) + std::string(size_t(length), 'x'), ""}, {{"a", ""}, {"b", ""}}, {"a", "b"}});
  EXPECT_EQ(set.sides.size(), size_t(rows + 2));
  EXPECT_LT(peak_allocated(), rows * length * 5 / 4);
}

// A side that occurs twice has one number, and one candidate for each name it has.
TEST(EvaluationSet, numbers_sides_and_candidates) {
  EvaluationSet set;
  set.add({{"q", "q.png"}, {{"a", ""}, {"b", ""}, {"a", ""}}, {"a", "b", "a"}});
  set.add({{"a", ""}, {{"b", ""}, {"b", ""}}, {"b", "other"}});
  EXPECT_EQ(set.sides.size(), 3u);
  EXPECT_EQ(set.queries, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(set.first_rows, (std::vector<size_t>{0, 0, 0}));
  EXPECT_EQ(set.lists[0].numbers(), (std::vector<int32_t>{0, 1, 0}));
  EXPECT_EQ(set.lists[1].numbers(), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(set.candidates[2].side, 2);
  EXPECT_EQ(set.candidates[2].name, "other");
  EXPECT_NE(set.digests.substr(0, 32), set.digests.substr(32));
}

TEST(Summary, groups_and_optional_sets) {
  const std::vector<Task> tasks = {
      {"A", "classification", "IND"}, {"B", "classification", "OOD"}, {"C", "vqa", "IND"}, {"D", "vqa", "OOD", true}};
  const Summary s = summarise({{"D", 0}, {"C", 90}, {"B", 20}, {"A", 40}}, tasks);
  EXPECT_DOUBLE_EQ(s.overall, 50);
  EXPECT_DOUBLE_EQ(s.ind, 65);
  EXPECT_DOUBLE_EQ(s.ood, 20);
  EXPECT_DOUBLE_EQ(s.classification, 30);
  EXPECT_DOUBLE_EQ(s.vqa, 90);
  EXPECT_EQ(s.retrieval, -1);
  ASSERT_EQ(s.sets.size(), 4u);
  EXPECT_EQ(s.sets[3].name, "D");
  EXPECT_THROW(summarise({{"unknown", 1}}, tasks), Error);
}

// One set of three rows; inputs that occur twice are embedded once.
TEST(Evaluate, writes_what_it_promises) {
  const TemporaryFolder folder("evaluate");
  std::filesystem::create_directories(folder.path() / "data/Set");
  write_json(folder.path() / "tasks.json",
             {{"datasets", {{{"name", "Set"}, {"meta_task", "retrieval"}, {"split", "IND"}}}}});
  std::string rows;
  const auto row = [](const char* query, std::vector<std::string> targets) {
    return json{{"qry_text", query},
                {"qry_img_path", ""},
                {"tgt_text", targets},
                {"tgt_img_path", std::vector<std::string>(targets.size())}}
               .dump() +
           "\n";
  };
  write_text(folder.path() / "data/Set/test.jsonl",
             row("x", {"x", "y"}) + row("y", {"x", "y", "z", "z2"}) + row("x", {"z", "y"}));
  std::vector<size_t> embedded;
  // Embeds a text as the unit vector of its first letter, so "z" and "z2" tie.
  const EmbedFunction embed = [&](const std::vector<EncoderInput>& inputs, const std::string&) {
    embedded.push_back(inputs.size());
    std::vector<float> values;
    for (const EncoderInput& input : inputs)
      for (const char letter : {'x', 'y', 'z'}) values.push_back(input.text[0] == letter);
    return from_vector(values, {int64_t(inputs.size()), 3});
  };
  const fs::path data = folder / "data";
  const Summary s = evaluate({eval_folder(data), read_tasks(data), "<image>"}, embed, folder.path() / "out").summary;
  EXPECT_EQ(embedded, std::vector<size_t>{4});
  EXPECT_NEAR(s.overall, 100.0 * 2 / 3, 1e-9);  // rows 1 and 3 (a tie of zeros, which the first index wins)
  EXPECT_NEAR(s.sets[0].chance, 100.0 * (0.5 + 0.25 + 0.5) / 3, 1e-9);
  EXPECT_EQ(s.sets[0].ties, 1);
  EXPECT_EQ(s.sets[0].ties_last, 1);
  EXPECT_EQ(intervals(s).sets[0].high, 100);
  const json score = read_json(folder.path() / "out/Set_score.json"),
             summary = read_json(folder.path() / "out/summary.json");
  EXPECT_EQ(score["num_correct"], 2);
  EXPECT_EQ(score["num_pred"], 3);
  EXPECT_NEAR(score["acc"].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_NEAR(score["hit@1"].get<double>(), 2.0 / 3, 1e-12);
  EXPECT_EQ(s.sets[0].right, "101");
  EXPECT_EQ(summary["datasets"]["Set"]["right"], "101");
  EXPECT_EQ(summary["datasets"]["Set"]["eval_type"], "local");
  EXPECT_TRUE(summary["vqa"].is_null());
  EXPECT_NEAR(summary["retrieval"].get<double>(), 66.6667, 1e-3);
  const std::string predictions = read_text(folder.path() / "out/Set_pred.jsonl");
  EXPECT_EQ(std::count(predictions.begin(), predictions.end(), '\n'), 3);
  EXPECT_NEAR(read_summary(folder.path() / "out").overall, s.overall, 1e-12);
}

TEST_F(Letters, num_candidates_is_of_each_query_but_in_classification) {
  data.num_candidates = 4;
  const Evaluation four = evaluate(data, embed, folder / "out");
  EXPECT_NEAR(four.summary.sets[0].chance, 50, 1e-9);
  EXPECT_NEAR(four.summary.sets[1].chance, 25, 1e-9);
  EXPECT_EQ(four.summary.overall, 100);
  EXPECT_TRUE(four.notes.empty());
  const std::string info = read_text(folder / "out/Texts_info.jsonl");
  const json row = json::parse(info.substr(0, info.find('\n')));
  EXPECT_EQ(row.at("cand_names").size(), 4u);
  EXPECT_EQ(row.at("cand_names")[0], "a");
  data.num_candidates = 7;
  const Evaluation seven = evaluate(data, embed, "");
  ASSERT_EQ(seven.notes.size(), 1u);
  EXPECT_EQ(seven.notes[0], "Texts has 6 candidates, fewer than --num_candidates 7");
}

TEST_F(Letters, a_global_set_is_ranked_among_all) {
  data.sets[1].global = true;
  EXPECT_NEAR(evaluate(data, embed, folder / "out").summary.sets[1].chance, 100.0 / 6, 1e-9);
  const std::string info = read_text(folder / "out/Texts_info.jsonl");
  EXPECT_NE(info.find(R"({"cand_names":["c","a","b","d","e","f"],"label_name":"c"})"), info.npos) << info;
  EXPECT_EQ(read_json(folder / "out/summary.json")["datasets"]["Texts"]["eval_type"], "global");
}

// A right name that a row repeats counts each time, in the official metrics too.
TEST_F(Letters, a_repeated_right_name_is_noted) {
  write_text(folder / "data/Texts/test.jsonl",
             R"({"qry_text": "find a", "qry_img_path": "", "tgt_text": ["a", "b", "a"], "tgt_img_path": ["", "", ""]})"
             "\n");
  const Evaluation e = evaluate(data, embed, folder / "out");
  ASSERT_EQ(e.notes.size(), 1u);
  EXPECT_TRUE(e.notes[0].starts_with("Texts: in 1 row another candidate has the right one's name")) << e.notes[0];
  EXPECT_EQ(read_json(folder / "out/Texts_score.json")["map@5"], 2);
}

TEST_F(Letters, prompt_variants_move_the_score) {
  data.prompt_variants = {{"Texts", {"seek", "wrong"}}};
  const Summary s = evaluate(data, embed, folder / "out").summary;
  EXPECT_TRUE(s.sets[0].variants.empty());
  ASSERT_EQ(s.sets[1].variants.size(), 3u);
  EXPECT_EQ(s.sets[1].variants[0], (std::pair<std::string, double>("find ", 100)));
  EXPECT_EQ(s.sets[1].variants[1], (std::pair<std::string, double>("seek", 100)));
  EXPECT_EQ(s.sets[1].variants[2], (std::pair<std::string, double>("wrong", 0)));
  const std::string table = variants_table(s);
  EXPECT_NE(table.find("Texts"), table.npos) << table;
  EXPECT_EQ(table.find("Classes"), table.npos) << table;
  EXPECT_EQ(read_json(folder / "out/summary.json")["datasets"]["Texts"]["prompt_variants"].size(), 3u);
  data.prompt_variants = {{"Text", {"seek"}}};
  expect_error(Exit::usage, "Text is not among the sets", [&] { evaluate(data, embed, ""); });
}

// A set named twice would be trained on and counted twice.
TEST(Subsets, are_named_once) {
  const TemporaryFolder folder("subsets");
  for (const char* set : {"A", "B"}) {
    std::filesystem::create_directories(folder / set);
    write_text(folder / set / "test.jsonl", "");
  }
  EXPECT_EQ(list_subsets(folder.path(), "test.jsonl", {"B", "A"}).size(), 2u);
  expect_error(Exit::usage, "twice", [&] { list_subsets(folder.path(), "test.jsonl", {"A", "B", "A"}); });
  expect_error(Exit::usage, "twice", [&] { train_folder(folder.path(), {"B", "B"}); });
}

// Comparisons with NaN are false, so the first candidate, the right one, would always win.
TEST(Embed, refuses_embeddings_that_are_not_finite) {
  const TemporaryFolder folder("nan");
  write_tiny_model(folder.path());
  const auto encoder = load_encoder(folder.path());
  const std::vector<EncoderInput> rows = {{"a red cat", {}, 0}, {"a blue dog", {}, 1}};
  EXPECT_NO_THROW(embed(*encoder, rows, 1));
  for (Parameter* p : encoder->backbone->parameters())
    if (p->path() == "model.norm.weight")
      p->set(from_vector(std::vector<float>(size_t(encoder->dim()), NAN), {encoder->dim()}));
  for (const int64_t batch : {1, 2}) expect_error(Exit::failed, "not finite", [&] { embed(*encoder, rows, batch); });
}

}  // namespace
}  // namespace vlm2vec
