// The model against the official code's numbers: tests/golden/qwen2_vl, or another folder of that layout.
#include "vlm/qwen2_vl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "golden.h"
#include "tensor/io/files.h"
#include "tensor/io/safetensors.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// The largest |a − b|, and NaN if there is one.
double distance(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.numel(), b.numel());
  const auto x = to_vector<double>(a), y = to_vector<double>(b);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (const double d = std::abs(x[i] - y[i]); !(d <= worst)) worst = d;
  return worst;
}

Tensor select(const Tensor& x, const Tensor& rows) {
  std::vector<int32_t> ids;
  for (const int64_t row : to_vector<int64_t>(rows)) ids.push_back(int32_t(row));
  return gather_rows(x.view({x.rows(), x.columns()}), from_vector(ids, {int64_t(ids.size())}));
}

// Which stored rows a stage is compared on.
std::string rows_key(const std::string& stage) {
  if (stage.starts_with("hidden")) return "hidden_rows";
  return stage == "vision_merger" ? "merger_rows" : "vision_rows";
}

class GoldenModel {
 public:
  explicit GoldenModel(const std::string& model)
      : model_(model), expected_(load_safetensors(golden("qwen2_vl/expected.safetensors"))) {}

  void check(const json& c) {
    const std::string name = c.at("name"), prefix = model_ + "/" + name + "/";
    SCOPED_TRACE(prefix);
    const auto encoder =
        load_encoder(golden("qwen2_vl") / model_, {.min_pixels = c.at("limits")[0],
                                                   .max_pixels = c.at("limits")[1],
                                                   .image_resolution = c.value("resolution", "")});
    EncoderInput input{c.at("text"), {}, 0};
    for (const auto& image : c.value("images", json::array()))
      input.images.push_back(golden("qwen2_vl/images") / image.get<std::string>());
    const auto batch = encoder->prepare({&input, 1});
    const auto& packed = static_cast<const Qwen2VlBatch&>(*batch);
    EXPECT_EQ(to_vector<int64_t>(packed.ids), to_vector<int64_t>(expected_.at(prefix + "input_ids")));
    if (expected_.contains(prefix + "position_ids")) {
      EXPECT_EQ(to_vector<int64_t>(packed.position_ids), to_vector<int64_t>(expected_.at(prefix + "position_ids")));
    }
    if (packed.grids) {
      EXPECT_EQ(to_vector<int64_t>(packed.grids), to_vector<int64_t>(expected_.at(prefix + "image_grid_thw")));
    }
    int stages = 0;
    encoder->trace = [&](const std::string& stage, const Tensor& value) {
      if (stage == "embedding") return;
      const Tensor rows = expected_.at(prefix + rows_key(stage));
      EXPECT_LE(distance(select(value, rows), expected_.at(prefix + stage)), 2e-4) << stage;
      ++stages;
    };
    const Tensor traced = (*encoder)(*batch).value();
    EXPECT_GE(stages, 3);
    EXPECT_LE(distance(traced, expected_.at(prefix + "embedding")), 5e-6);
    encoder->trace = nullptr;
    const Tensor embedding = (*encoder)(*batch).value();  // computes the last layer for the last row only
    EXPECT_EQ(to_vector<float>(embedding), to_vector<float>(traced));
  }

 private:
  std::string model_;
  NamedTensors expected_;
};

TEST(Qwen2VlGolden, forward) {
  NEEDS_GOLDEN("qwen2_vl")
  const json cases = read_json(golden("qwen2_vl/cases.json"));
  for (const char* model : {"tiny", "mini"}) {
    if (!cases.contains(model)) continue;
    GoldenModel reference(model);
    for (const json& c : cases.at(model)) reference.check(c);
  }
}

// Rows embedded in one packed batch have the bits they have alone.
TEST(Qwen2VlGolden, batches) {
  NEEDS_GOLDEN("qwen2_vl")
  const json cases = read_json(golden("qwen2_vl/cases.json"));
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"), {.max_pixels = 1003520});
  std::vector<EncoderInput> inputs;
  for (const json& c : cases.at("tiny")) {
    if (c.at("route") != "v2" || c.at("tokens") > 300) continue;
    EncoderInput input{c.at("text"), {}, 0};
    for (const auto& image : c.value("images", json::array()))
      input.images.push_back(golden("qwen2_vl/images") / image.get<std::string>());
    inputs.push_back(input);
  }
  ASSERT_GE(inputs.size(), 10u);
  const auto together = to_vector<float>(embed(*encoder, inputs, 64)),
             alone = to_vector<float>(embed(*encoder, inputs, 1)),
             sevens = to_vector<float>(embed(*encoder, inputs, 7));
  EXPECT_EQ(together, alone);
  EXPECT_EQ(together, sevens);
}

}  // namespace
}  // namespace vlm2vec
