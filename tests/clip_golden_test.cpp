// CLIP and SigLIP against transformers' numbers, OpenCLIP against its own: tests/golden/clip, or another collection.
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

// Paths of pictures are alike in all folders.
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

// Those rows of x that it has; a reference may have more, of padding.
Numbers rows_of(const Tensor& x, const Tensor& rows) {
  Numbers some;
  for (const int64_t row : to_vector<int64_t>(rows))
    if (row < x.rows())
      for (const double value : to_vector<double>(x.rows(row, row + 1))) some.push_back(value);
  return some;
}

Numbers first_of(Numbers x, size_t count) { return x.resize(std::min(x.size(), count)), x; }

// Every 8th pixel from the third of a picture; ours may lack those that fill no patch.
Numbers common_sample(const Tensor& reference, int64_t side) {
  const int64_t columns = reference.dim(-1), kept = (side - 3 + 7) / 8;
  const auto values = to_vector<double>(reference);
  Numbers some;
  for (size_t i = 0; i < values.size(); ++i)
    if (int64_t(i) % columns < kept && int64_t(i) / columns % columns < kept) some.push_back(values[i]);
  return some;
}

std::map<std::string, Tensor> stages(Encoder& encoder, const EncoderInput& input) {
  std::map<std::string, Tensor> all;
  for (const Stage& stage : stages_of(encoder, input).list) all.emplace(stage.name, stage.value);
  return all;
}

class DualGolden : public testing::Test {
 protected:
  explicit DualGolden(const char* family) : family_(family) {}
  void SetUp() override {
    NEEDS_GOLDEN("clip")
    NEEDS_GOLDEN("backbone_images")
    const auto file = golden(family_) / "cases.jsonl";
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "not run: no " << file << "; VLM2VEC_GOLDEN names a larger one";
    cases_ = lines_of_json(file);
    for (const json& c : cases_) by_name_[c.at("name")] = c;
    use(Device::cpu);
  }
  void use(Device device) {
    device_ = device;
    encoder_ = load({.device = device});
  }
  std::unique_ptr<Encoder> load(const EncoderOptions& options) const {
    return load_encoder(golden(family_) / "model", options);
  }
  void check_forward();
  void check_batches();
  void check_loss_and_gradients();
  std::vector<EncoderInput> inputs(const json& names, Parts parts) const {
    std::vector<EncoderInput> all;
    for (const json& name : names) all.push_back(input_of(by_name_.at(name), parts));
    return all;
  }
  const std::string family_;
  std::vector<json> cases_;
  std::map<std::string, json> by_name_;
  Device device_;
  std::unique_ptr<Encoder> encoder_;
};

struct ClipGolden : DualGolden {
  ClipGolden() : DualGolden("clip") {}
};
struct OpenClipGolden : DualGolden {
  OpenClipGolden() : DualGolden("open_clip") {}
};
struct SiglipGolden : DualGolden {
  SiglipGolden() : DualGolden("siglip") {}
};

void DualGolden::check_forward() {
  const auto masked = load({.device = device_, .official_mask = encoder_->family.official_mask}),
             narrow = load({.device = device_, .bf16 = true});
  int pictures = 0;
  for (const json& c : cases_) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const EncoderInput input = input_of(c);
    if (device_ == Device::emu && pictures == 1 && !input.images.empty()) continue;  // it takes seconds for one
    const NamedTensors expected = load_safetensors(golden(family_) / c.at("file").get<std::string>());
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
        const auto ids = to_vector<double>(plain.at(key));
        EXPECT_EQ(ids, first_of(reference, ids.size()));
        for (size_t i = ids.size(); i < reference.size(); ++i) EXPECT_EQ(reference[i], 0) << "not padding";
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
        const Tensor& pixels = plain.at("pixel_values");
        const auto ours = to_vector<double>(pixel_statistic(pixels, end, 8, 3));
        const bool whole = pixels.dim(3) == encoder_->backbone->input().image_size;
        if (end == "sample") {
          expect_within("pixel_values", distance(ours, common_sample(tensor, pixels.dim(3))), 3e-7);
        } else if (whole) {
          EXPECT_LE(distance(ours, reference), 1e-5);
        }
      } else if (end == "rows") {
        const std::string name = stage_of(key.substr(0, key.size() - 5));
        const Numbers ours = rows_of(plain.at(name), expected.at(key.substr(0, key.size() - 4) + "row_index"));
        EXPECT_GT(ours.size(), 0u);
        expect_within(name, distance(ours, first_of(reference, ours.size())), 5e-5);
      } else if (end == "norms") {
        const auto ours = to_vector<double>(row_norms(plain.at(stage_of(key.substr(0, key.size() - 6)))));
        EXPECT_LE(distance(ours, first_of(reference, ours.size())), 2e-4);
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
TEST_F(OpenClipGolden, forward) { check_forward(); }
TEST_F(SiglipGolden, forward) { check_forward(); }
TEST_F(ClipGolden, forward_on_devices) {
  for (const Device device : kernel_devices()) use(device), check_forward();
}

// Rows of texts, of pictures and of both in one packed batch have the bits they have alone.
void DualGolden::check_batches() {
  std::vector<EncoderInput> rows;
  for (const json& c : cases_)
    for (const Parts parts : {both, text_only, picture_only})
      if (c.contains("image") || parts == text_only) rows.push_back(input_of(c, parts));
  const auto together = to_vector<float>(embed(*encoder_, rows, 64));
  EXPECT_EQ(to_vector<float>(embed(*encoder_, rows, 1)), together);
  EXPECT_EQ(to_vector<float>(embed(*encoder_, rows, 5)), together);
}
TEST_F(ClipGolden, batches) { check_batches(); }
TEST_F(OpenClipGolden, batches) { check_batches(); }
TEST_F(SiglipGolden, batches) { check_batches(); }

void DualGolden::check_loss_and_gradients() {
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
