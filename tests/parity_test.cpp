// The certificate must be able to say no: references made by the program itself, then moved by a little.
#include "vlm/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden_pictures.h"
#include "io/files.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

class Parity : public testing::Test {
 protected:
  Parity() {
    const std::filesystem::path picture = std::filesystem::absolute(golden_picture("tiny"));
    write_json(folder_ / "cases.json",
               {{{"name", "one"}, {"text", "<|image_pad|> Name it."}, {"images", {picture.string()}}}});
    for (const Stage& stage : stages_of(*encoder_, {"<|image_pad|> Name it.", {picture}}).list)
      reference_.emplace(stage.name, stage.value);
  }
  std::vector<CaseParity> compare() {
    save_safetensors(folder_ / "one.safetensors", reference_);
    return compare_with_reference(*encoder_, folder_.path());
  }
  // The reference's number in the middle of a stage, moved.
  void move(const std::string& stage, double by) {
    Tensor& t = reference_.at(stage);
    const int64_t i = t.numel() / 2;
    if (is_float(t.dtype())) t.data<float>()[i] += float(by);
    else t.data<int64_t>()[i] += int64_t(by);
  }
  const TemporaryFolder folder_{"parity"};
  const std::unique_ptr<Encoder> encoder_ = load_encoder(golden("qwen2_vl/tiny"));
  NamedTensors reference_;
};

TEST_F(Parity, holds_for_equal_stages) {
  const auto cases = compare();
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0].stages.size(), 12u);
  EXPECT_EQ(cases[0].divergence(), nullptr);
  for (const StageParity& stage : cases[0].stages) EXPECT_EQ(stage.error, 0) << stage.stage;
}

TEST_F(Parity, names_the_first_stage_that_diverges) {
  const auto first = [&] { return compare()[0].divergence()->stage; };
  move("embedding", 1e-5);
  EXPECT_EQ(first(), "embedding");
  move("hidden_layer_0", 0.01);
  EXPECT_EQ(first(), "hidden_layer_0");
  move("vision_block_1", NAN);
  EXPECT_EQ(first(), "vision_block_1");
  move("pixel_values", 1e-6);
  EXPECT_EQ(first(), "pixel_values");
  move("position_ids", 1);
  EXPECT_EQ(first(), "position_ids");
}

TEST_F(Parity, names_positions_of_another_transformers_version) {
  std::string cause = compare()[0].cause;
  EXPECT_EQ(cause, "");
  const auto three = load_encoder(golden("qwen2_vl/tiny"), {.image_positions = "3d"});
  const Tensor line = reference_.at("position_ids");
  const EncoderInput input{"<|image_pad|> Name it.", {std::filesystem::absolute(golden_picture("tiny"))}};
  for (const Stage& stage : stages_of(*three, input).list)
    if (stage.name == "position_ids") reference_.at("position_ids") = stage.value;
  EXPECT_EQ(compare()[0].divergence()->stage, "position_ids");
  EXPECT_NE(compare()[0].cause.find("--image_positions 3d"), std::string::npos);
  reference_.at("position_ids") = line;
  save_safetensors(folder_ / "one.safetensors", reference_);
  EXPECT_NE(compare_with_reference(*three, folder_.path())[0].cause.find("--image_positions 1d"), std::string::npos);
}

// A channel of large numbers must not hide what happens in the others.
TEST_F(Parity, measures_each_channel_by_its_own_scale) {
  Tensor& state = reference_.at("hidden_layer_1");
  for (int64_t row = 0; row < state.rows(); ++row) state.data<float>()[row * state.columns()] *= 1e6f;
  state.data<float>()[1] += 0.5f;
  const auto cases = compare();
  const auto found = std::find_if(cases[0].stages.begin(), cases[0].stages.end(),
                                  [](const StageParity& s) { return s.stage == "hidden_layer_1"; });
  EXPECT_GT(found->error, 0.01);
}

TEST_F(Parity, allows_what_another_order_of_sums_gives) {
  move("embedding", 1e-6);
  move("hidden_layer_1", 1e-5);
  EXPECT_EQ(compare()[0].divergence(), nullptr);
}

TEST_F(Parity, refuses_a_reference_of_something_else) {
  const Tensor good = reference_.at("hidden_final");
  reference_.at("hidden_final") = good.rows(0, 2);
  expect_error(Exit::data, "hidden_final is f32[2, 256], this model gives f32[", [&] { compare(); });
  reference_.at("hidden_final") = good;
  reference_.emplace("hidden_layer_7", good);
  expect_error(Exit::data, "this model has no stage hidden_layer_7", [&] { compare(); });
  reference_.clear();
  expect_error(Exit::data, "has no embedding to compare", [&] { compare(); });
  write_text(folder_ / "cases.json", "[]");
  expect_error(Exit::data, "has no case", [&] { compare(); });
}

}  // namespace
}  // namespace vlm2vec
