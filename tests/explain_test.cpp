// What `explain` tells of an input: the shares of a score against differences, the costs of stages, the heat map.
#include <gtest/gtest.h>

#include <algorithm>

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
};

TEST_F(Explain, shares_add_up_to_what_the_input_adds) {
  const Attribution a = attribute(*encoder, input, t);
  const auto ids = to_vector<int64_t>(stages_of(*encoder, input).list[0].value);
  EXPECT_EQ(int64_t(a.words.size()), int64_t(ids.size()) - std::count(ids.begin(), ids.end(), 1));
  ASSERT_EQ(a.pictures.size(), 1u);
  EXPECT_EQ(a.pictures[0].rows * a.pictures[0].columns, int(a.pictures[0].shares.size()));
  double words = 0, picture = 0;
  for (const auto& [piece, share] : a.words) words += share;
  for (const float share : a.pictures[0].shares) picture += share;
  EXPECT_GT(std::abs(words), 1e-2);
  EXPECT_GT(std::abs(picture), 1e-4);
  EXPECT_NEAR(words + picture, a.score - a.nothing, 0.01 * (std::abs(words) + std::abs(picture)));
  EXPECT_NEAR(a.score, item(matmul(embed(*encoder, {&input, 1}, 1), t.view({1, t.numel()}), false, true)), 1e-6);
}

TEST_F(Explain, what_says_nothing_is_blanks_and_pictures_of_one_colour) {
  const EncoderInput text{"find the cat", {}}, blank{" ", {}};
  const double nothing = attribute(*encoder, text, t).nothing;
  const auto id = to_vector<int64_t>(stages_of(*encoder, blank).list[0].value).at(0);
  for (Parameter* p : encoder->backbone->parameters()) {
    if (p->path() != "model.embed_tokens.weight") continue;
    const Tensor blanks = p->value().clone();
    for (int64_t row = 0; row < blanks.rows(); ++row)
      copy_bytes(p->value().rows(id, id + 1), blanks.rows(row, row + 1));
    p->set(blanks);
  }
  EXPECT_NEAR(attribute(*encoder, text, t).score, nothing, 1e-12);
  write_png(folder / "p.png", plain_image(16, 24, 200));
  encoder = load_encoder(folder / "model", {.f64 = true});
  const Attribution plain = attribute(*encoder, {input.text, {folder / "p.png"}}, t);
  for (const float share : plain.pictures[0].shares) EXPECT_NEAR(share, 0, 1e-9);
}

TEST_F(Explain, stages_account_for_every_parameter_but_say_what_they_do) {
  int64_t told = 0, all = 0;
  for (const Stage& stage : stages_of(*encoder, input).list) {
    EXPECT_FALSE(stage.note.text.empty()) << stage.name;
    told += stage.note.parameters;
    if (stage.name.starts_with("hidden_layer_")) {  // 2 x tokens x weights, and a little attention
      EXPECT_GT(stage.note.flops, 2.0 * double(stage.value.rows()) * 1000);
    }
  }
  for (const Parameter* p : encoder->backbone->parameters()) all += numel(p->shape());
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
