// CLIP's picture processor: bits against transformers' CLIPImageProcessor, and its file in its several forms.
#include "vlm/image/center_crop.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expect_error.h"
#include "golden.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

CenterCrop read(const json& file) { return dynamic_cast<const CenterCrop&>(*CenterCrop::read(file)); }

// noise|clip_shortest29_crop28: as [3, 28, 28] of normalised numbers. Among them are squares larger than the picture.
TEST(CenterCropGolden, gives_the_official_bits) {
  NEEDS_GOLDEN("pixels")
  int compared = 0;
  const NamedTensors arrays = load_safetensors(golden("pixels/normalise.safetensors"));
  for (const auto& [key, expected] : arrays) {
    int shortest = 0, square = 0;
    const size_t bar = key.find('|');
    if (std::sscanf(key.c_str() + bar + 1, "clip_shortest%d_crop%d", &shortest, &square) != 2) continue;
    const Tensor source = arrays.at("src/" + key.substr(0, bar));
    Image image(int(source.dim(1)), int(source.dim(0)), 3);
    std::copy_n(source.data<uint8_t>(), source.numel(), image.pixels.data());
    CenterCrop rule = read({{"size", unsigned(shortest)}, {"crop_size", unsigned(square)}});
    rule.patch_size = 1;
    const Image crop = rule.apply({.samples = image});
    ASSERT_EQ(expected.shape(), (Shape{3, crop.height, crop.width})) << key;
    std::vector<float> pixels(size_t(expected.numel()));
    rule.write_patches(crop, pixels.data());
    int64_t different = 0;
    for (int64_t i = 0; i < expected.numel(); ++i)
      different += pixels[size_t(i % (square * square) * 3 + i / (square * square))] != expected.data<float>()[i];
    EXPECT_EQ(different, 0) << key;
    ++compared;
  }
  EXPECT_GE(compared, 8);
}

TEST(CenterCrop, reads_every_form_of_its_file) {
  const json old = {{"feature_extractor_type", "CLIPFeatureExtractor"}, {"size", 336u}, {"crop_size", 330u}},
             now = {{"image_processor_type", "CLIPImageProcessor"},
                    {"size", {{"shortest_edge", 336u}}},
                    {"crop_size", {{"height", 330u}, {"width", 330u}}}};
  for (const json& file : {old, now}) {
    EXPECT_EQ(read(file).shortest_edge, 336);
    EXPECT_EQ(read(file).picture_size, 330);
    EXPECT_EQ(read(file).settings(), read(old).settings());
  }
  const CenterCrop rule = read(now), other = read(json::object());
  EXPECT_EQ(other.picture_size, 224);
  EXPECT_NE(rule.settings(), other.settings());
  EXPECT_NE(rule.key(), other.key());
  EXPECT_EQ(read(json::parse(rule.settings().dump())).settings(), rule.settings());
  for (const auto& [field, value, fault] :
       {std::tuple<const char*, json, const char*>{"size", {{"height", 224u}, {"width", 224u}}, "size is {"},
        {"crop_size", {{"height", 224u}, {"width", 200u}}, "expected a number of pixels, also as height and width"},
        {"size", 0u, "size is 0"},
        {"do_center_crop", false, "do_center_crop is false"},
        {"image_processor_type", "SiglipImageProcessor", "expected CLIPImageProcessor"},
        {"resample", 2, "resample is 2"}}) {
    json wrong = now;
    wrong[field] = value;
    expect_error(Exit::data, fault, [&] { read(wrong); });
  }
}

}  // namespace
}  // namespace vlm2vec
