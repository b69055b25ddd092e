// The model against the official code's numbers: tests/golden/qwen2_vl, or another folder of that layout.
#include "vlm/families/qwen2_vl.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "devices.h"
#include "expect_error.h"
#include "golden_compare.h"
#include "golden_pictures.h"
#include "io/files.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

double limit_of(const std::string& stage) {
  return stage == "embedding" ? 5e-6 : stage == "pixel_values" ? 3e-7 : 2e-4;
}

EncoderInput input_of(const json& c) {
  EncoderInput input{c.at("text"), {}};
  for (const auto& image : c.value("images", json::array()))
    input.images.push_back(golden("qwen2_vl/images") / image.get<std::string>());
  return input;
}

EncoderOptions options_of(const json& c, Device device) {
  return {.device = device,
          .min_pixels = c.at("limits")[0],
          .max_pixels = c.at("limits")[1],
          .image_resolution = c.at("route") == "v1" ? c.at("resolution").get<std::string>() : ""};
}

class GoldenModel {
 public:
  GoldenModel(const std::string& model, Device device)
      : model_(model), device_(device), expected_(load_safetensors(golden("qwen2_vl/expected.safetensors"))) {}

  // Returns whether the device can compute it in a test's time.
  bool check(const json& c) {
    const std::string name = c.at("name"), prefix = model_ + "/" + name + "/";
    SCOPED_TRACE(prefix);
    const auto encoder = load_encoder(golden("qwen2_vl") / model_, options_of(c, device_));
    const EncoderInput input = input_of(c);
    if (too_slow_for(device_, encoder->prepare({&input, 1}))) return false;
    GoldenStages stages{expected_, prefix, limit_of, c.at("positions") == "1d"};
    stages.compare_all(*encoder, input);
    stages.expect_all_seen();
    if (expected_.contains(prefix + "embedding_bf16")) check_bf16(c, expected_.at(prefix + "embedding"));
    return true;
  }

  void check_bf16(const json& c, const Tensor& f32_embedding) {
    EncoderOptions options = options_of(c, device_);
    options.bf16 = true;
    const auto encoder = load_encoder(golden("qwen2_vl") / model_, options);
    const EncoderInput input = input_of(c);
    const Tensor embedding = embed(*encoder, {&input, 1}, 1);
    EXPECT_GE(cosine(embedding, f32_embedding), 0.999);
    EXPECT_GT(distance(embedding, f32_embedding), 5e-6) << "nothing was rounded";
  }

 private:
  std::string model_;
  Device device_;
  NamedTensors expected_;
};

int check_forward(Device device) {
  const json cases = read_json(golden("qwen2_vl/cases.json"));
  int checked = 0;
  for (const char* model : {"tiny", "mini"}) {
    if (!cases.contains(model)) continue;  // the repository keeps one of the two
    GoldenModel reference(model, device);
    for (const json& c : cases.at(model)) checked += reference.check(c);
  }
  return checked;
}

TEST(Qwen2VlGolden, forward) {
  NEEDS_GOLDEN("qwen2_vl")
  EXPECT_GT(check_forward(Device::cpu), 0);
}
TEST(Qwen2VlGolden, forward_on_devices) {
  NEEDS_GOLDEN("qwen2_vl")
  for (const Device device : kernel_devices()) EXPECT_GE(check_forward(device), 5) << name_of(device);
}

// Rows embedded in one packed batch have the bits they have alone.
TEST(Qwen2VlGolden, batches) {
  NEEDS_GOLDEN("qwen2_vl")
  const json cases = read_json(golden("qwen2_vl/cases.json"));
  const auto encoder = load_encoder(golden("qwen2_vl/tiny"), {.max_pixels = 1003520});
  std::vector<EncoderInput> inputs;
  for (const json& c : cases.at("tiny")) {
    if (c.at("route") != "v2" || c.at("tokens") > 300) continue;
    inputs.push_back(input_of(c));
  }
  ASSERT_GE(inputs.size(), 10u);
  const auto together = to_vector<float>(embed(*encoder, inputs, 64)),
             alone = to_vector<float>(embed(*encoder, inputs, 1)),
             sevens = to_vector<float>(embed(*encoder, inputs, 7));
  EXPECT_EQ(together, alone);
  EXPECT_EQ(together, sevens);
}

// Text beyond max_len is cut off, a picture never: the error says which, and what would do.
TEST(Qwen2Vl, max_len_cuts_text_and_never_a_picture) {
  const auto tokens = [](int64_t max_len, const EncoderInput& input) {
    const auto encoder = load_encoder(golden("qwen2_vl/tiny"), {.max_len = max_len});
    return to_vector<int64_t>(encoder->prepare({&input, 1}).ids);
  };
  const EncoderInput text{"one two three four five six", {}};
  const auto all = tokens(0, text), cut = tokens(4, text);
  ASSERT_GT(all.size(), 4u);
  EXPECT_EQ(cut, std::vector<int64_t>(all.begin(), all.begin() + 4));
  EXPECT_EQ(tokens(int64_t(all.size()), text), all);

  const EncoderInput picture{"Name <|image_pad|> it.", {golden_picture("tiny")}, 0, "row 7 of Set"};
  const auto whole = tokens(0, picture);
  const int64_t image = read_json(golden("qwen2_vl/tiny/config.json")).at("image_token_id");
  const auto pictures = [&](const std::vector<int64_t>& ids) { return std::count(ids.begin(), ids.end(), image); };
  const int64_t end = std::find(whole.rbegin(), whole.rend(), image).base() - whole.begin();
  EXPECT_EQ(pictures(tokens(end, picture)), pictures(whole));
  EXPECT_EQ(int64_t(tokens(end, picture).size()), end);
  expect_error(Exit::data,
               sentence("row 7 of Set: --max_len ", end - 1, " would cut through picture 1, whose grid of 1x"),
               [&] { tokens(end - 1, picture); });
  expect_error(Exit::data, sentence("give --max_len ", end, " or more"), [&] { tokens(1, picture); });
}

// A model trained with other bounds of its pictures' area is saved with them: who loads it sees what it was trained on.
TEST(Qwen2Vl, keeps_the_bounds_of_its_pictures) {
  const TemporaryFolder folder("bounds");
  const SmartResize before = rule_of(golden("qwen2_vl/tiny"));
  const auto saved = [&](const EncoderOptions& options) {
    load_encoder(golden("qwen2_vl/tiny"), options)->processor.write_configuration(folder.path());
    return rule_of(folder.path());
  };
  EXPECT_EQ(saved({}).max_pixels, before.max_pixels);
  EXPECT_EQ(read_text(folder / "preprocessor_config.json"),
            read_text(golden("qwen2_vl/tiny/preprocessor_config.json")));
  const SmartResize changed = saved({.max_pixels = 123456, .load_weights = false});
  EXPECT_EQ(changed.min_pixels, before.min_pixels);
  EXPECT_EQ(changed.max_pixels, 123456);
}

}  // namespace
}  // namespace vlm2vec
