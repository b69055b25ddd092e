#include "mmeb/registry/registry.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "io/files.h"
#include "mmeb/evaluation/evaluator.h"
#include "mmeb/evaluation/score_table.h"
#include "mmeb/registry/task.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

std::map<std::string, double> means_of(const std::map<std::string, double>& datasets) {
  std::vector<SetScore> scores;
  for (const auto& [name, value] : datasets) scores.push_back({name, value});
  const Summary s = summarise(scores, registered_tasks());
  return {{"classification", s.classification},
          {"vqa", s.vqa},
          {"retrieval", s.retrieval},
          {"grounding", s.grounding},
          {"IND", s.ind},
          {"OOD", s.ood},
          {"overall", s.overall}};
}

TEST(Registry, sets_of_the_paper) {
  std::map<std::string, int> count;
  for (const RegisteredSet& set : registered_sets()) {
    ++count[set.split], ++count[set.meta_task], ++count[set.meta_task + set.split];
    EXPECT_EQ(set.query_type.find('I') == std::string::npos && set.name != "WebQA" && set.name != "EDIS",
              set.query.find("<|image_1|>") == std::string::npos)
        << set.name;
    EXPECT_EQ(set.target_type == "T", set.target.find("<|image_1|>") == std::string::npos) << set.name;
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"IND", 20},
                                               {"OOD", 16},
                                               {"classification", 10},
                                               {"vqa", 10},
                                               {"retrieval", 12},
                                               {"grounding", 4},
                                               {"classificationIND", 5},
                                               {"classificationOOD", 5},
                                               {"vqaIND", 6},
                                               {"vqaOOD", 4},
                                               {"retrievalIND", 8},
                                               {"retrievalOOD", 4},
                                               {"groundingIND", 1},
                                               {"groundingOOD", 3}}));
  EXPECT_EQ(registered("ImageNet-1K")->train_name, "ImageNet_1K");
  EXPECT_EQ(registered("ObjectNet")->released_candidates, 113);
  EXPECT_NE(registered("MSCOCO")->query, registered("MSCOCO")->train_query);
  EXPECT_EQ(registered("CIFAR-100"), nullptr);
}

// Table 6 of the paper averages to table 2, but for what notes say of SigLIP and UniIR.
TEST(Registry, published_sets_average_to_published_means) {
  const std::set<std::string> misprints = {"SigLIP retrieval", "UniIR CLIP_SF grounding", "UniIR CLIP_SF IND",
                                           "UniIR CLIP_SF OOD", "UniIR CLIP_SF overall"};
  std::set<std::string> differ;
  int rows = 0;
  for (const PublishedResult& result : published_results()) {
    EXPECT_FALSE(result.source.empty()) << result.model;
    if (result.datasets.empty()) continue;
    ++rows;
    EXPECT_EQ(result.datasets.size(), 36u) << result.model;
    const auto means = means_of(result.datasets);
    for (const auto& [key, value] : result.averages)
      if (std::abs(means.at(key) - value) > 0.1) differ.insert(result.model + " " + key);
  }
  EXPECT_EQ(rows, 11);
  EXPECT_EQ(differ, misprints);
}

TEST(Registry, ablations_have_consistent_means) {
  std::map<std::string, int> count;
  for (const Ablation& a : published_ablations()) {
    ++count[a.subject];
    if (!a.averages.contains("classification")) continue;
    const double mean = (10 * a.averages.at("classification") + 10 * a.averages.at("vqa") +
                         12 * a.averages.at("retrieval") + 4 * a.averages.at("grounding")) /
                        36;
    EXPECT_NEAR(mean, a.averages.at("overall"), 0.11) << a.subject << " " << a.value;
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"batch_size", 4},
                                               {"candidates", 5},
                                               {"crops", 5},
                                               {"instructions", 4},
                                               {"lora_rank", 5},
                                               {"meta_task", 2},
                                               {"resolution", 2},
                                               {"steps", 4}}));
}

TEST(Registry, GoldenAggregates) {
  NEEDS_GOLDEN("mmeb/scores");
  const json aggregate = read_json(golden("mmeb/aggregate.json"));
  for (const auto& [group, names] : aggregate.at("groups").items())
    for (std::string name : names) {
      const bool ood = name.back() == '*';
      if (ood) name.pop_back();
      ASSERT_NE(registered(name), nullptr) << name;
      EXPECT_EQ(registered(name)->meta_task, group) << name;
      EXPECT_EQ(registered(name)->split, ood ? "OOD" : "IND") << name;
    }
  int compared = 0;
  for (const std::string table : {"scores", "paper_llava_hr"}) {
    if (!aggregate.contains(table)) continue;  // the paper's row is in one collection only
    const json& expected = aggregate.at(table == "scores" ? "means" : "paper_llava_hr_means");
    const auto means = means_of(aggregate.at(table));
    for (const auto& [key, value] : expected.items()) {
      EXPECT_NEAR(means.at(key), value.get<double>(), 1e-13 * 100) << table << " " << key;
      ++compared;
    }
  }
  EXPECT_GE(compared, 7);
}

// The texts of the stored rows are those of the registry around the rows' own words.
TEST(Registry, GoldenTexts) {
  NEEDS_GOLDEN("mmeb/MMEB-eval");
  const auto fits = [](const std::string& text, const std::string& form) {
    return form.find('{') == form.npos ? text == form : form[0] == '{' || own_words(text, form) != text;
  };
  int rows = 0;
  for (const std::string& name : list_subsets(golden("mmeb/MMEB-eval"), "test.jsonl", {}))
    for (const EvalRow& row : read_eval_rows(golden("mmeb/MMEB-eval") / name / "test.jsonl")) {
      EXPECT_TRUE(fits(row.query.text, registered(name)->query)) << name << ": " << row.query.text;
      for (const Side& side : row.candidates)
        EXPECT_TRUE(fits(side.text, registered(name)->target)) << name << ": " << side.text;
      ++rows;
    }
  EXPECT_GT(rows, 0);
}

TEST(Registry, tasks_without_tasks_json) {
  const TemporaryFolder folder("tasks");
  std::filesystem::create_directories(folder / "data/Mine");
  EXPECT_EQ(read_tasks(folder / "data").size(), 36u);
  const std::string row = R"({"qry_text": "q", "qry_img_path": "", "tgt_text": ["a"], "tgt_img_path": [""]})";
  write_text(folder / "data/Mine/test.jsonl", row + "\n");
  expect_error(Exit::data, "Mine: this set is neither one of MMEB's 36 nor in a tasks.json in the folder of --dataset_name", [&] {
    evaluate({eval_folder(folder / "data"), read_tasks(folder / "data"), "<image>"}, {}, "");
  });
}

TEST(PublishedTable, averages_over_the_sets_that_were_evaluated) {
  EXPECT_EQ(published_table(summarise({{"EmojiNet", 1}}, {{"EmojiNet", "vqa", "IND"}}), "ours"), "");
  std::vector<SetScore> two = {{"GQA", 50, 0, 500, 1000}, {"VOC2007", 90, 0, 18, 20}};
  const std::string some = published_table(summarise(two, registered_tasks()), "ours");
  EXPECT_NE(
      some.find("CLIP                                          50.7    41.3       -       -    50.7    41.3    46.0"),
      some.npos)
      << some;
  EXPECT_NE(
      some.find("ours                                          90.0    50.0       -       -    90.0    50.0    70.0"),
      some.npos)
      << some;
  EXPECT_NE(some.find("over the 2 sets of MMEB evaluated here; 34 are missing"), some.npos) << some;
  EXPECT_NE(some.find("VOC2007 20"), some.npos) << some;
  EXPECT_EQ(some.find("ColPali"), some.npos) << some;
  std::vector<SetScore> all;
  for (const RegisteredSet& set : registered_sets()) all.push_back({set.name, 10, 0, 100, 1000});
  const std::string full = published_table(summarise(all, registered_tasks()), "ours");
  EXPECT_NE(full.find("ColPali v1.3 +"), full.npos) << full;
  EXPECT_EQ(full.find("missing"), full.npos) << full;
  EXPECT_EQ(full.find("another number"), full.npos) << full;
}

TEST(PublishedTable, the_number_of_candidates_matters) {
  EXPECT_EQ(published_candidates_table(summarise({{"EmojiNet", 1}}, {{"EmojiNet", "vqa", "IND"}})), "");
  const std::string table = published_candidates_table(summarise({{"GQA", 50, 0, 500, 1000}}, registered_tasks()));
  EXPECT_NE(table.find("LoRA, 100"), table.npos) << table;
  EXPECT_NE(table.find("54.8    41.3    46.5    65.3       -       -    49.5"), table.npos) << table;  // of 5000
}

}  // namespace
}  // namespace vlm2vec
