// What `explain` tells of an input: the shares of a score against differences, the costs of stages, the heat map.
#include <gtest/gtest.h>

#include "tiny_model.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

struct Explain : testing::Test {
  TemporaryFolder folder{"explain"};
  EncoderInput input, target{"a blue dog", {}};
  std::unique_ptr<Encoder> encoder;
  Tensor t;

  void SetUp() override {
    write_tiny_model(folder / "model");
    encoder = load_encoder(folder / "model", {.f64 = true});
    Image picture = plain_image(16, 24, 200);
    for (int y = 0; y < 24; ++y) picture.at(y, 3)[0] = uint8_t(10 * y);
    write_png(folder / "p.png", picture);
    input = {encoder->image_token() + " find the cat", {folder / "p.png"}};
    t = embed(*encoder, {&target, 1}, 1);
  }

  // d score / d log(scale) of the rows of a parameter, by central differences.
  double slope(const std::string& path, int64_t row = -1) {
    double difference = 0;
    for (const double sign : {1.0, -1.0})
      for (Parameter* p : encoder->parameters()) {
        if (p->path() != path) continue;
        const Tensor before = p->value(), scaled = before.clone();
        const int64_t columns = scaled.numel() / scaled.dim(0);
        for (int64_t i = 0; i < scaled.numel(); ++i)
          if (row < 0 || i / columns == row) scaled.data<double>()[i] *= 1 + sign * 1e-5;
        p->set(scaled);
        difference += sign * encoder->attribute(input, t).score;
        p->set(before);
      }
    return difference / 2e-5;
  }
};

TEST_F(Explain, shares_of_words_and_pictures_are_the_derivatives) {
  const Attribution a = encoder->attribute(input, t);
  const auto ids = to_vector<int64_t>(stages_of(*encoder, input)[0].value);
  int64_t image = 0;
  for (const int64_t id : ids) image += id == 1;
  ASSERT_EQ(int64_t(a.words.size()), int64_t(ids.size()) - image);
  double largest = 0;
  size_t word = 0;
  for (const int64_t id : ids) {
    if (id == 1) continue;
    double of_this_id = 0;  // it may occur again
    size_t other = 0;
    for (const int64_t other_id : ids)
      if (other_id != 1) of_this_id += other_id == id ? a.words[other++].second : (++other, 0.0f);
    EXPECT_NEAR(of_this_id, slope("model.embed_tokens.weight", id), 1e-6) << a.words[word].first;
    largest = std::max(largest, std::abs(of_this_id));
    ++word;
  }
  EXPECT_GT(largest, 1e-4);  // there was something to see
  ASSERT_EQ(a.pictures.size(), 1u);
  EXPECT_EQ(a.pictures[0].rows * a.pictures[0].columns, int(a.pictures[0].shares.size()));
  double picture = 0;
  for (const float share : a.pictures[0].shares) picture += share;
  EXPECT_NEAR(picture, slope("visual.patch_embed.proj.weight"), 1e-6);
  EXPECT_GT(std::abs(picture), 1e-4);
}

TEST_F(Explain, stages_account_for_every_parameter_but_say_what_they_do) {
  int64_t told = 0, all = 0;
  for (const Stage& stage : stages_of(*encoder, input)) {
    EXPECT_FALSE(stage.note.text.empty()) << stage.name;
    told += stage.note.parameters;
    if (stage.name.starts_with("hidden_layer_")) {  // 2 x tokens x weights, and a little attention
      EXPECT_GT(stage.note.flops, 2.0 * double(stage.value.rows()) * 1000);
    }
  }
  for (const Parameter* p : encoder->parameters()) all += numel(p->shape());
  EXPECT_EQ(told, all);
}

TEST(HeatMap, is_red_for_and_blue_against) {
  const Image map = heat_map({plain_image(8, 4, 100), 1, 2, {0.5f, -0.25f}});
  EXPECT_EQ(map.size(), (Size{8, 4}));
  EXPECT_GT(map.at(0, 0)[0], map.at(0, 0)[2]);
  EXPECT_LT(map.at(3, 7)[0], map.at(3, 7)[2]);
}

}  // namespace
}  // namespace vlm2vec
