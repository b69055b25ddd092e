// CLIP against transformers' numbers: tests/golden/clip, or another folder of that layout.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "devices.h"
#include "golden.h"
#include "io/sha256.h"
#include "lines_of_json.h"
#include "mmeb/training/grad_cache.h"
#include "nn/optim.h"
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

Numbers row_norms(const Tensor& x) {
  Numbers norms;
  for (int64_t row = 0; row < x.rows(); ++row) {
    const auto values = to_vector<double>(x.rows(row, row + 1));
    norms.push_back(std::sqrt(dot(values, values)));
  }
  return norms;
}

// Every 8th pixel from 3 of the first picture [1, 3, side, side], and of each channel the mean and the mean square.
Numbers pixel_statistic(const Tensor& pixels, const std::string& which) {
  const int64_t side = pixels.dim(3);
  const auto values = to_vector<double>(pixels);
  Numbers result;
  for (int64_t channel = 0; channel < 3; ++channel) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < side * side; ++i) {
      const double x = values[size_t(channel * side * side + i)];
      if (which == "sample" && i / side % 8 == 3 && i % side % 8 == 3) result.push_back(x);
      mean += x / double(side * side), square += x * x / double(side * side);
    }
    if (which != "sample") result.push_back(which == "mean" ? mean : square);
  }
  return result;
}

// "text.hidden_1.rows" is of the stage hidden_layer_0, "vision.hidden_0.norms" of vision_embed.
std::string stage_of(const std::string& key) {
  const bool text = key.starts_with("text.");
  const int number = std::stoi(key.substr(key.find('_') + 1));
  if (number == 0) return text ? "hidden_embed" : "vision_embed";
  return sentence(text ? "hidden_layer_" : "vision_block_", number - 1);
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
        EXPECT_LE(distance(to_vector<double>(plain.at("embedding")), reference), 5e-6);
      } else if (key.ends_with("_bf16")) {
        const std::string stage = key.substr(0, key.size() - 5);
        EXPECT_GE(dot(unit(to_vector<double>(bf16.at(stage))), unit(to_vector<double>(expected.at(stage)))), 0.999);
        EXPECT_GT(distance(to_vector<double>(bf16.at(stage)), to_vector<double>(plain.at(stage))), 1e-5);
      } else if (key.starts_with("pixel_values.")) {
        EXPECT_LE(distance(pixel_statistic(plain.at("pixel_values"), end), reference), end == "sample" ? 3e-7 : 1e-5);
      } else if (end == "rows") {
        const Tensor& stage = plain.at(stage_of(key));
        EXPECT_LE(distance(rows_of(stage, expected.at(key.substr(0, key.size() - 4) + "row_index")), reference), 5e-5);
      } else if (end == "norms") {
        EXPECT_LE(distance(row_norms(plain.at(stage_of(key))), reference), 2e-4);
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
  const json description = read_json(golden("clip/loss.json"));
  const NamedTensors reference = load_safetensors(golden("clip/loss.safetensors"));
  const auto queries = inputs(description.at("queries"), both), targets = inputs(description.at("targets"), text_only);
  const double temperature = description.at("temperature");

  const Var q = Var::leaf(embed(*encoder_, queries, 8)), t = Var::leaf(embed(*encoder_, targets, 8));
  EXPECT_LE(distance(to_vector<double>(q.value()), to_vector<double>(reference.at("query"))), 5e-6);
  EXPECT_LE(distance(to_vector<double>(t.value()), to_vector<double>(reference.at("target"))), 5e-6);
  info_nce(q, t, temperature).loss.backward();
  EXPECT_LE(distance(to_vector<double>(q.grad()), to_vector<double>(reference.at("d_query"))), 1e-4);
  EXPECT_LE(distance(to_vector<double>(t.grad()), to_vector<double>(reference.at("d_target"))), 1e-4);

  const TrainedParameters parameters(encoder_->backbone->parameters());
  const double loss = item(contrastive_step(*encoder_, queries, targets, {.temperature = temperature}).loss);
  EXPECT_NEAR(loss, description.at("loss").get<double>(), 5e-5);
  size_t compared = 0;
  for (Parameter* p : parameters.parameters()) {
    SCOPED_TRACE(p->path());
    const Tensor gradient = static_cast<const Var&>(*p).grad();
    const auto all = to_vector<double>(gradient);
    const double norm = std::sqrt(dot(all, all));
    const json &none = description.at("no_gradient"), &rounding = description.at("only_rounding");
    if (std::ranges::find(none, json(p->path())) != none.end()) {
      EXPECT_EQ(norm, 0);
      continue;
    }
    if (rounding.contains(p->path())) {
      EXPECT_LE(norm, 1e-4);
      continue;
    }
    EXPECT_NEAR(norm / description.at("gradient_norms").at(p->path()).get<double>(), 1, 5e-5);
    const auto rows = reference.find("gradient_rows/" + p->path());
    const Tensor flat = gradient.view({gradient.dim(0), -1});
    const Numbers ours = rows == reference.end() ? all : rows_of(flat, rows->second),
                  theirs = to_vector<double>(reference.at("gradient/" + p->path()));
    ASSERT_EQ(ours.size(), theirs.size());
    Numbers difference = ours;
    for (size_t i = 0; i < ours.size(); ++i) difference[i] -= theirs[i];
    EXPECT_LE(std::sqrt(dot(difference, difference) / dot(theirs, theirs)), 5e-5);
    ++compared;
  }
  EXPECT_EQ(compared, description.at("gradient_norms").size());
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
