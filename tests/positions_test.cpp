// Rotary positions against the official model's, and the angles against their formula.
#include "vlm/positions.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "golden.h"
#include "io/error.h"
#include "io/files.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

constexpr int32_t start = 1, image = 2;  // tokens; 9 is text

TEST(MropePositionsGolden, EqualTheOfficialModels) {
  NEEDS_GOLDEN("qwen2_vl")
  const auto cases = read_json(golden("qwen2_vl/cases.json"));
  const NamedTensors reference = load_safetensors(golden("qwen2_vl/expected.safetensors"));
  const auto config = read_json(golden("qwen2_vl/tiny/config.json"));
  int compared = 0, with_mrope = 0;
  for (const auto& example : cases.at("tiny")) {
    const std::string name = "tiny/" + std::string(example["name"]);
    const Tensor& tokens = reference.at(name + "/input_ids");
    const std::vector<int32_t> ids(tokens.data<int64_t>(), tokens.data<int64_t>() + tokens.numel());
    std::vector<Grid> grids;
    if (const auto thw = reference.find(name + "/image_grid_thw"); thw != reference.end())
      for (int64_t i = 0; i < thw->second.numel(); i += 3) {
        const int64_t* grid = thw->second.data<int64_t>() + i;
        grids.push_back({int(grid[0]), int(grid[1]), int(grid[2])});
      }
    std::vector<int32_t> expected(3 * ids.size());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = int32_t(i % ids.size());
    if (example["positions"] == "mrope") {
      const Tensor& positions = reference.at(name + "/position_ids");
      expected.assign(positions.data<int64_t>(), positions.data<int64_t>() + positions.numel());
      ++with_mrope;
    }
    EXPECT_EQ(mrope_positions(ids, grids, config["vision_start_token_id"], config["image_token_id"], 2), expected)
        << name;
    ++compared;
  }
  EXPECT_GE(compared, 16);
  EXPECT_GE(with_mrope, 3);
}

TEST(MropePositions, GoOnAfterTheLargestOfAPicture) {
  const std::vector<int32_t> ids = {9, start, image, image, image, 9};
  const Grid grid{1, 2, 6};                                                                             // 1x3 tokens
  EXPECT_EQ(mrope_positions(ids, {&grid, 1}, start, image, 2), (std::vector<int32_t>{0, 1, 2, 2, 2, 5,  //
                                                                                     0, 1, 2, 2, 2, 5,  //
                                                                                     0, 1, 2, 3, 4, 5}));
}

TEST(MropePositions, JustCountWithoutPictures) {  // a text may hold the tokens of a picture that is not there
  EXPECT_EQ(mrope_positions(std::vector<int32_t>{7, 1, 2, 7}, {}, 1, 2, 2),
            (std::vector<int32_t>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}));
}

TEST(MropePositions, CountPicturesOnlyAfterVisionStart) {
  const Grid grid{1, 2, 6};
  const std::vector<int32_t> bare = {image, image, image, 9}, apart = {start, 9, image, image, image};
  std::vector<int32_t> line(15);
  for (int i = 0; i < 12; ++i) line[i] = i % 4;
  EXPECT_EQ(mrope_positions(bare, {&grid, 1}, start, image, 2), std::vector<int32_t>(line.begin(), line.begin() + 12));
  for (int i = 0; i < 15; ++i) line[i] = i % 5;
  EXPECT_EQ(mrope_positions(apart, {&grid, 1}, start, image, 2), line);
}

// As transformers 5.3 and later: two pictures of 1 x 3 and 2 x 2 tokens, only the second opened.
TEST(MropePositions, PlaceEveryPictureWhereAllAreMeant) {
  const std::vector<Grid> grids = {{1, 2, 6}, {1, 4, 4}};
  const std::vector<int32_t> ids = {image, image, image, 9, start, image, image, image, image, 9};
  EXPECT_EQ(mrope_positions(ids, grids, start, image, 2, ImagePositions::three_d),
            (std::vector<int32_t>{0, 0, 0, 3, 4, 5, 5, 5, 5, 7,  //
                                  0, 0, 0, 3, 4, 5, 5, 6, 6, 7,  //
                                  0, 1, 2, 3, 4, 5, 6, 5, 6, 7}));
  EXPECT_EQ(mrope_positions(std::vector<int32_t>{7, image, 7}, {}, start, image, 2, ImagePositions::three_d),
            (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(MropePositions, RefuseTextThatDoesNotFitItsPictures) {
  const Grid grid{1, 2, 6};
  const std::vector<int32_t> cut = {start, image, image}, mixed = {start, image, image, 9},
                             two = {start, image, start, image};
  EXPECT_THROW(mrope_positions(cut, {&grid, 1}, start, image, 2), Error);
  EXPECT_THROW(mrope_positions(mixed, {&grid, 1}, start, image, 2), Error);
  EXPECT_THROW(mrope_positions(two, {&grid, 1}, start, image, 2), Error);
}

// Float angles of a few hundred radians are off by 2e-5, so the formula in double is compared with that tolerance.
TEST(TextRotary, EverySectionTurnsWithItsOwnStream) {
  const std::vector<int32_t> positions = {0, 7, 300, 0, 5, 200, 0, 1, 100};  // [3, 3]
  const std::vector<int> sections = {4, 6, 6};
  const RopeTable table = text_rotary(positions, 32, 10000, sections);
  ASSERT_EQ(table.cos.shape(), (Shape{3, 16}));
  for (int n = 0; n < 3; ++n)
    for (int i = 0; i < 16; ++i) {
      const int stream = i < 4 ? 0 : i < 10 ? 1 : 2;
      const double angle = positions[stream * 3 + n] * std::pow(10000.0, -2.0 * i / 32);
      EXPECT_NEAR(table.cos.data<float>()[n * 16 + i], std::cos(angle), 3e-5) << n << " " << i;
      EXPECT_NEAR(table.sin.data<float>()[n * 16 + i], std::sin(angle), 3e-5) << n << " " << i;
    }
  EXPECT_THROW(text_rotary(positions, 64, 10000, sections), Error);
}

// torch: inv = 1 / 1e6 ** (torch.arange(0, 128, 2).float() / 128); (2999.0 * inv)[[0, 9, 31, 63]].cos()
TEST(TextRotary, AnglesAreFloatProducts) {
  const std::vector<int32_t> position = {2999};
  const std::vector<int> sections = {64};
  const RopeTable table = text_rotary(position, 128, 1e6, sections);
  const std::vector<std::pair<int, float>> expected = {
      {0, -0.342721343f}, {9, -0.803469837f}, {31, -0.836473644f}, {63, 0.999993086f}};
  for (const auto& [i, cosine] : expected) EXPECT_NEAR(table.cos.data<float>()[i], cosine, 1.2e-7) << i;
}

TEST(VisionRotary, RowAnglesThenColumnAnglesInPatchOrder) {
  const std::vector<Grid> grids = {{1, 2, 4}, {2, 2, 2}};
  const RopeTable table = vision_rotary(grids, 16, 2);
  ASSERT_EQ(table.sin.shape(), (Shape{16, 8}));
  const std::vector<std::pair<int, int>> places = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3},
                                                   {0, 0}, {0, 1}, {1, 0}, {1, 1}, {0, 0}, {0, 1}, {1, 0}, {1, 1}};
  for (int n = 0; n < 16; ++n)
    for (int i = 0; i < 8; ++i) {
      const double angle = (i < 4 ? places[n].first : places[n].second) * std::pow(10000.0, -2.0 * (i % 4) / 8);
      EXPECT_NEAR(table.cos.data<float>()[n * 8 + i], std::cos(angle), 3e-7);
      EXPECT_NEAR(table.sin.data<float>()[n * 8 + i], std::sin(angle), 3e-7);
    }
}

}  // namespace
}  // namespace vlm2vec
