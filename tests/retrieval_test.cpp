#include "mmeb/evaluation/retrieval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "io/files.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// Twelve pictures with two captions each on a circle. A picture's vector is its angle; of its captions, one lies on it
// and the other, for odd pictures, on the opposite side.
TEST(Retrieval, recall_both_ways_among_all) {
  const TemporaryFolder folder("retrieval");
  std::string rows;
  for (int i = 0; i < 12; ++i) {
    const std::string n = std::to_string(i);
    write_text(folder / (n + ".jpg"), "x");
    const std::string far = std::to_string((i + 6) % 12);
    rows += json{{"filename", n + ".jpg"}, {"caption", {i % 2 ? "at " + far + " odd" : "at " + n, "at " + n + " too"}}}
                .dump() +
            "\n";
  }
  write_text(folder / "circle.jsonl", rows);
  size_t embedded = 0;
  const EmbedFunction embed = [&](const std::vector<EncoderInput>& inputs, const std::string& set) {
    EXPECT_EQ(set, "circle");
    embedded = inputs.size();
    Tensor vectors({int64_t(inputs.size()), 2}, DType::f32, Device::cpu);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const bool picture = !inputs[i].images.empty();
      if (picture) {
        EXPECT_EQ(inputs[i].text, "<image> Find an image caption describing the given image.");
      }
      const double at = std::stod(picture ? std::filesystem::path(inputs[i].images[0].name()).stem().string()
                                          : inputs[i].text.substr(3));
      // captions a little beside their picture, so that nothing ties
      const double angle = (at + (picture ? 0 : 0.01)) * 2 * M_PI / 12;
      vectors.data<float>()[2 * i] = float(std::cos(angle)), vectors.data<float>()[2 * i + 1] = float(std::sin(angle));
    }
    return vectors;
  };
  const auto scores = evaluate_retrieval("circle", read_captioned_pictures(folder / "circle.jsonl"), folder.path(),
                                         "<image>", nullptr, embed, folder / "out");
  EXPECT_EQ(embedded, 36u);
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].name, "circle_i2t");
  EXPECT_EQ(scores[0].queries, 12);
  EXPECT_EQ(scores[0].candidates, 24);
  EXPECT_DOUBLE_EQ(scores[0].recall[0], 75);  // a stranger's caption ties with the own one and comes first for 7, 9, 11
  EXPECT_DOUBLE_EQ(scores[0].recall[1], 100);
  EXPECT_EQ(scores[1].queries, 24);
  EXPECT_DOUBLE_EQ(scores[1].recall[0], 75);  // the six captions on the opposite side
  EXPECT_DOUBLE_EQ(scores[1].recall[2], 75);
  const json score = read_json(folder / "out/circle_t2i_score.json");
  EXPECT_DOUBLE_EQ(score.at("recall@1").get<double>(), 0.75);
  EXPECT_EQ(score.at("num_pred"), 24);
  for (const char* file : {"circle_i2t_score.json", "circle_i2t_pred.jsonl", "circle_image.npy", "circle_text.npy",
                           "circle_text_ids.jsonl"})
    EXPECT_TRUE(std::filesystem::exists(folder / "out" / file)) << file;
}

TEST(Retrieval, stands_beside_published_recall_when_it_is_as_large) {
  const std::string published = "VLM2Vec Qwen2-VL-7B, LoRA t2i           80.0    95.3    97.6";
  std::vector<RecallScore> scores = {{"f_i2t", {1, 2, 3}, 1000, 5000}, {"f_t2i", {4, 5, 6}, 5000, 1000}};
  EXPECT_NE(recall_table(scores).find(published), std::string::npos) << recall_table(scores);
  scores[0].queries = 999;
  EXPECT_EQ(recall_table(scores).find("Published"), std::string::npos);
}

TEST(Retrieval, refuses_rows_that_are_none) {
  const TemporaryFolder folder("retrieval");
  const auto read = [&](const std::string& row) {
    write_text(folder / "f.jsonl", row + "\n");
    read_captioned_pictures(folder / "f.jsonl");
  };
  expect_error(Exit::data, "no caption", [&] { read(R"({"image": "a.jpg", "caption": []})"); });
  expect_error(Exit::data, "caption", [&] { read(R"({"image": "a.jpg"})"); });
  expect_error(Exit::data, "f.jsonl:1", [&] { read(R"({"image": {"bytes": 1}, "caption": ["a"]})"); });
  const std::string row = R"({"image": "a.jpg", "caption": ["a"]})";
  expect_error(Exit::data, "a second time", [&] { read(row + "\n" + row); });
}

}  // namespace
}  // namespace vlm2vec
