// CLIP against transformers' numbers: tests/golden/clip, or another folder of that layout.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "devices.h"
#include "golden.h"
#include "golden_loss.h"
#include "golden_statistics.h"
#include "io/sha256.h"
#include "lines_of_json.h"
#include "tensor/finite.h"
#include "tensor/tensor_files.h"
#include "vlm/stages.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using Numbers = std::vector<double>;

enum Parts { text_only, picture_only, both };

EncoderInput input_of(const json& c, Parts parts = both) {
  EncoderInput input{parts == picture_only ? "" : c.at("text"), {}};
  if (parts != text_only && c.contains("image")) input.images.push_back(golden("clip") / c["image"].get<std::string>());
  return input;
}

double distance(const Numbers& a, const Numbers& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = worse(worst, std::abs(a[i] - b[i]));
  return worst;
}

double dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Numbers unit(Numbers x) {
  const double length = std::sqrt(dot(x, x));
  for (double& value : x) value /= length;
  return x;
}

Numbers rows_of(const Tensor& x, const Tensor& rows) {
  Numbers some;
  for (const int64_t row : to_vector<int64_t>(rows))
    for (const double value : to_vector<double>(x.rows(row, row + 1))) some.push_back(value);
  return some;
}

std::map<std::string, Tensor> stages(Encoder& encoder, const EncoderInput& input) {
  std::map<std::string, Tensor> all;
  for (const Stage& stage : stages_of(encoder, input).list) all.emplace(stage.name, stage.value);
  return all;
}

class ClipGolden : public testing::Test {
 protected:
  void SetUp() override {
    NEEDS_GOLDEN("clip")
    NEEDS_GOLDEN("backbone_images")
    cases_ = lines_of_json(golden("clip/cases.jsonl"));
    for (const json& c : cases_) by_name_[c.at("name")] = c;
    use(Device::cpu);
  }
  void use(Device device) {
    device_ = device;
    encoder_ = load_encoder(golden("clip/model"), {.device = device});
  }
  void check_forward();
  void check_loss_and_gradients();
  std::vector<EncoderInput> inputs(const json& names, Parts parts) const {
    std::vector<EncoderInput> all;
    for (const json& name : names) all.push_back(input_of(by_name_.at(name), parts));
    return all;
  }
  std::vector<json> cases_;
  std::map<std::string, json> by_name_;
  Device device_;
  std::unique_ptr<Encoder> encoder_;
};

void ClipGolden::check_forward() {
  const auto masked = load_encoder(golden("clip/model"), {.device = device_, .official_mask = true}),
             narrow = load_encoder(golden("clip/model"), {.device = device_, .bf16 = true});
  int pictures = 0;
  for (const json& c : cases_) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const EncoderInput input = input_of(c);
    if (device_ == Device::emu && pictures == 1 && !input.images.empty()) continue;  // it takes seconds for one
    const NamedTensors expected = load_safetensors(golden("clip") / c.at("file").get<std::string>());
    const auto plain = stages(*encoder_, input), official = stages(*masked, input), bf16 = stages(*narrow, input);
    Numbers fused = to_vector<double>(plain.at("text_embeds"));
    if (plain.contains("image_embeds")) {
      const auto picture = to_vector<double>(plain.at("image_embeds"));
      for (size_t i = 0; i < fused.size(); ++i) fused[i] += picture[i];
    }
    for (const auto& [key, tensor] : expected) {
      SCOPED_TRACE(key);
      const auto reference = to_vector<double>(tensor);
      const std::string end = key.substr(key.rfind('.') + 1);
      if (key == "input_ids") {
        EXPECT_EQ(to_vector<double>(plain.at(key)), reference);
      } else if (key == "vlm2vec_eval.input_ids") {
        EXPECT_EQ(to_vector<double>(official.at("input_ids")), reference);
      } else if (key == "vlm2vec_eval.text_embeds") {
        EXPECT_LE(distance(to_vector<double>(official.at("text_embeds")), reference), 2e-5);
        EXPECT_GT(distance(to_vector<double>(plain.at("text_embeds")), reference), 1e-3) << "the mask changes nothing";
      } else if (key == "text_embeds" || key == "image_embeds") {
        EXPECT_LE(distance(to_vector<double>(plain.at(key)), reference), 2e-5);
        // A row with the text or the picture alone.
        const EncoderInput part = input_of(c, key == "text_embeds" ? text_only : picture_only);
        EXPECT_LE(distance(to_vector<double>(embed(*encoder_, {&part, 1}, 1)), unit(reference)), 5e-6);
      } else if (key == "fused") {
        EXPECT_LE(distance(fused, reference), 2e-5);
      } else if (key == "fused_normalized") {
        expect_within("embedding", distance(to_vector<double>(plain.at("embedding")), reference), 5e-6);
      } else if (key.ends_with("_bf16")) {
        const std::string stage = key.substr(0, key.size() - 5);
        EXPECT_GE(dot(unit(to_vector<double>(bf16.at(stage))), unit(to_vector<double>(expected.at(stage)))), 0.999);
        EXPECT_GT(distance(to_vector<double>(bf16.at(stage)), to_vector<double>(plain.at(stage))), 1e-5);
      } else if (key.starts_with("pixel_values.")) {
        const double d = distance(pixel_statistic(plain.at("pixel_values"), end, 8, 3), tensor);
        if (end == "sample") expect_within("pixel_values", d, 3e-7);
        else EXPECT_LE(d, 1e-5);
      } else if (end == "rows") {
        const std::string name = stage_of(key.substr(0, key.size() - 5));
        const Numbers ours = rows_of(plain.at(name), expected.at(key.substr(0, key.size() - 4) + "row_index"));
        expect_within(name, distance(ours, reference), 5e-5);
      } else if (end == "norms") {
        EXPECT_LE(distance(row_norms(plain.at(stage_of(key.substr(0, key.size() - 6)))), tensor), 2e-4);
      } else {
        EXPECT_EQ(end, "row_index") << "was not compared";
      }
    }
    if (input.images.empty()) continue;
    const auto picture = encoder_->processor.picture(input, input.images[0]);
    EXPECT_EQ(json({picture->height, picture->width}), c.at("resized_height_width"));
    EXPECT_EQ(hex(sha256({reinterpret_cast<const char*>(picture->pixels.data()), picture->pixels.size()})),
              c.at("resized_rgb_sha256"));
    ++pictures;
  }
  EXPECT_GE(pictures, 1);
  EXPECT_GT(int(cases_.size()), pictures);
}
TEST_F(ClipGolden, forward) { check_forward(); }
TEST_F(ClipGolden, forward_on_devices) {
  for (const Device device : kernel_devices()) use(device), check_forward();
}

// Rows of texts, of pictures and of both in one packed batch have the bits they have alone.
TEST_F(ClipGolden, batches) {
  std::vector<EncoderInput> rows;
  for (const json& c : cases_)
    for (const Parts parts : {both, text_only, picture_only})
      if (c.contains("image") || parts == text_only) rows.push_back(input_of(c, parts));
  const auto together = to_vector<float>(embed(*encoder_, rows, 64));
  EXPECT_EQ(to_vector<float>(embed(*encoder_, rows, 1)), together);
  EXPECT_EQ(to_vector<float>(embed(*encoder_, rows, 5)), together);
}

void ClipGolden::check_loss_and_gradients() {
  GoldenLoss golden_loss(golden("clip"), 5e-5);
  golden_loss.rounding = 1e-4;
  const auto queries = inputs(golden_loss.all.at("queries"), both),
             targets = inputs(golden_loss.all.at("targets"), text_only);
  golden_loss.compare_embeddings(*encoder_, queries, targets, {5e-6, 5e-5, 5e-6, 1e-4});
  golden_loss.compare_step(*encoder_, encoder_->backbone->parameters(), queries, targets, 0, 5e-5);
}
TEST_F(ClipGolden, loss_and_gradients) { check_loss_and_gradients(); }
TEST_F(ClipGolden, loss_and_gradients_on_devices) {
  for (const Device device : kernel_devices()) use(device), check_loss_and_gradients();
}

// What a stored image token leaves behind, a line break, is no text beside a picture.
TEST_F(ClipGolden, blanks_beside_a_picture_are_no_text) {
  const auto pictured = std::ranges::find_if(cases_, [](const json& c) { return c.contains("image"); });
  const EncoderInput alone = input_of(*pictured, picture_only);
  EncoderInput blank = alone, empty{"\n", {}};
  blank.text = "\n";
  EXPECT_EQ(to_vector<float>(embed(*encoder_, {&blank, 1}, 1)), to_vector<float>(embed(*encoder_, {&alone, 1}, 1)));
  EXPECT_EQ(encoder_->prepare({&empty, 1}).ids.numel(), 2);
}

// A text of too many tokens keeps its end token, from which its vector is taken.
TEST_F(ClipGolden, long_texts_lose_words_and_keep_their_ends) {
  const json* longest = &cases_[0];
  for (const json& c : cases_)
    if (c.at("text").get<std::string>().size() > longest->at("text").get<std::string>().size()) longest = &c;
  const EncoderInput text = input_of(*longest, text_only), cat{"a cat", {}};
  const auto ids = [&](const EncoderInput& row, int64_t max_len) {
    const TokenBatch batch = load_encoder(golden("clip/model"), {.max_len = max_len})->prepare({&row, 1});
    return std::pair(to_vector<int64_t>(batch.ids), batch.cut.size());
  };
  const auto [whole, whole_cut] = ids(text, 0);
  const auto [five, five_cut] = ids(text, 5);
  const auto [more, more_cut] = ids(text, 1000);
  EXPECT_EQ(int64_t(whole.size()), encoder_->backbone->input().most_tokens);
  EXPECT_EQ(more, whole);
  EXPECT_EQ(five, (std::vector<int64_t>{whole[0], whole[1], whole[2], whole[3], whole.back()}));
  EXPECT_EQ(std::vector({whole_cut, five_cut, more_cut, ids(cat, 0).second}), (std::vector<size_t>{1, 1, 1, 0}));
}

}  // namespace
}  // namespace vlm2vec
