// Pictures to patches against the official processor: sizes, pixels and patch values must be equal bit for bit.
#include "vlm/image/smart_resize.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "expect_error.h"
#include "golden.h"
#include "io/error.h"
#include "io/files.h"
#include "qwen_testing.h"
#include "temporary_folder.h"
#include "tensor/tensor_files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

SmartResize config_of(const json& example) {
  SmartResize config = rule_of(golden("qwen2_vl/tiny"));
  config.min_pixels = example["limits"][0];
  config.max_pixels = example["limits"][1];
  config.image_resolution = example.value("resolution", "");
  return config;
}

std::vector<float> patches_of(const std::vector<Image>& pictures, const PictureRule& config) {
  std::vector<float> patches;
  for (const Image& picture : pictures) {
    const size_t begin = patches.size();
    patches.resize(begin + size_t(config.grid_of(picture).patches()) * config.patch_values());
    config.write_patches(picture, patches.data() + begin);
  }
  return patches;
}

// The rows of the patch matrix that the reference has kept.
void expect_reference_rows(const std::vector<float>& patches, const NamedTensors& reference, const std::string& name) {
  const Tensor &rows = reference.at(name + "/pixel_rows"), &values = reference.at(name + "/pixel_values");
  int64_t different = 0;
  for (int64_t r = 0; r < rows.numel(); ++r) {
    const int64_t row = rows.data<int64_t>()[r];
    ASSERT_LE((row + 1) * values.columns(), int64_t(patches.size())) << name;
    for (int64_t i = 0; i < values.columns(); ++i)
      different += patches[row * values.columns() + i] != values.data<float>()[r * values.columns() + i];
  }
  EXPECT_EQ(different, 0) << name;
}

TEST(ProcessorGolden, GivesTheOfficialSizes) {
  NEEDS_GOLDEN("qwen2_vl")
  const json cases = read_json(golden("qwen2_vl/smart_resize.json"));
  ASSERT_GE(cases.size(), 100);
  for (const json& example : cases) {
    SmartResize config;
    config.min_pixels = example["min_pixels"];
    config.max_pixels = example["max_pixels"];
    const Size size = config.size_of({example["width"], example["height"]});
    EXPECT_EQ(json({size.height, size.width}), example["result"]) << example;
  }
}

TEST(ProcessorGolden, GivesTheOfficialPicturesAndPatches) {
  NEEDS_GOLDEN("qwen2_vl")
  const auto cases = read_json(golden("qwen2_vl/cases.json"));
  const NamedTensors reference = load_safetensors(golden("qwen2_vl/expected.safetensors"));
  int compared = 0;
  for (const auto& example : cases.at("tiny")) {
    const std::string name = "tiny/" + std::string(example["name"]);
    if (!example.contains("images")) continue;
    const SmartResize config = config_of(example);
    std::vector<Image> pictures;
    for (const std::string file : example["images"]) {
      pictures.push_back(config.apply(read_picture(golden("qwen2_vl/images/" + file))));
      const Image& picture = pictures.back();
      const json& expected = example["resized"][pictures.size() - 1];
      EXPECT_EQ(json({picture.width, picture.height}), expected["size"]) << name;
      std::vector<int64_t> sums(3);
      for (size_t i = 0; i < picture.pixels.size(); ++i) sums[i % 3] += picture.pixels[i];
      EXPECT_EQ(json(sums), expected["channel_sums"]) << name;
      if (expected.contains("file")) {
        EXPECT_EQ(picture, read_rgb(golden("qwen2_vl/" + std::string(expected["file"])))) << name;
      }
      const Grid grid = config.grid_of(picture);
      const int64_t* thw = reference.at(name + "/image_grid_thw").data<int64_t>() + 3 * (pictures.size() - 1);
      EXPECT_EQ(json({grid.t, grid.h, grid.w}), json({thw[0], thw[1], thw[2]})) << name;
    }
    expect_reference_rows(patches_of(pictures, config), reference, name);
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

// CLIPImageProcessor's rescaling and normalising, also after Qwen2-VL's resizing: patches of one pixel. Its shortest
// edge and centre crop (clip_shortest…) belong to no model that this program has.
TEST(ProcessorGolden, NormalisesToTheOfficialBits) {
  NEEDS_GOLDEN("pixels")
  SmartResize pixel;
  pixel.patch_size = pixel.merge_size = pixel.temporal_patch_size = 1;
  int compared = 0;
  const NamedTensors arrays = load_safetensors(golden("pixels/normalise.safetensors"));
  for (const auto& [key, expected] : arrays) {
    const std::string name = key.substr(0, key.find('|')), kind = key.substr(key.find('|') + 1);
    const bool qwen = kind == "qwen_smart_resize_then_normalize";
    if (!qwen && kind != "clip_rescale_normalize") continue;
    const Tensor source = arrays.at("src/" + name);
    Image image(int(source.dim(1)), int(source.dim(0)), 3);
    std::copy_n(source.data<uint8_t>(), source.numel(), image.pixels.data());
    if (qwen) image = SmartResize().apply({.samples = image});
    ASSERT_EQ(expected.shape(), (Shape{3, image.height, image.width})) << key;
    const std::vector<float> patches = patches_of({image}, pixel);
    int64_t different = 0;
    for (int64_t i = 0; i < expected.numel(); ++i) {
      const int64_t channel = i / (expected.numel() / 3), place = i % (expected.numel() / 3);
      different += patches[size_t(place * 3 + channel)] != expected.data<float>()[i];
    }
    EXPECT_EQ(different, 0) << key;
    ++compared;
  }
  EXPECT_GE(compared, 5);
}

// Pillow 10.4: Image.open(file).resize((128, 128)).convert("RGB"), where 128 is a multiple of the factor.
TEST(ProcessorGolden, V1ResizesInTheFilesOwnMode) {
  NEEDS_GOLDEN("own_mode")
  SmartResize config;
  config.patch_size = 16, config.image_resolution = "low";
  for (const char* name : {"png_gray16_low.png", "pgm_p5_16bit.pgm", "jpg_cmyk_adobe.jpg", "png_pal8_trns.png"}) {
    const std::string stem = std::filesystem::path(name).stem();
    EXPECT_EQ(config.apply(read_picture(golden("pixels/files") / name)),
              read_rgb(golden("own_mode/v1_low_" + stem + ".png")))
        << name;
  }
}

TEST(Processor, V1ResizesBeforeAllElse) {
  SmartResize config;
  config.max_pixels = 12845056;
  const auto width = [&](const char* word, int side) {
    config.image_resolution = word;
    return config.apply({.samples = Image(side, 60, 3)}).size();
  };
  EXPECT_EQ(width("high", 40), (Size{1344, 1344}));
  EXPECT_EQ(width("mid", 2000), (Size{672, 672}));
  EXPECT_EQ(width("low", 40), (Size{140, 140}));  // 128 is no multiple of 28
  EXPECT_EQ(width("none", 1344), (Size{1344, 56}));
  EXPECT_EQ(width("none", 1345), (Size{1344, 1344}));
  EXPECT_EQ(width("none", 20), (Size{56, 56}));  // 60x60, not V2's 56x56 first
}

TEST(Processor, PatchesOfOneTokenAreNeighbours) {
  SmartResize config;
  config.patch_size = 2, config.merge_size = 2, config.temporal_patch_size = 2;
  config.mean = {0, 0, 0}, config.std = {1, 1, 1};
  Image picture(8, 4, 3);  // a token is 4x4 pixels
  for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = uint8_t(i);
  const std::vector<float> patches = patches_of({picture}, config);
  ASSERT_EQ(patches.size(), 8u * 24);
  const std::vector<std::pair<int, int>> corners = {{0, 0}, {0, 2}, {2, 0}, {2, 2}, {0, 4}, {0, 6}, {2, 4}, {2, 6}};
  for (size_t n = 0; n < corners.size(); ++n)
    for (int c = 0; c < 3; ++c)
      for (int t = 0; t < 2; ++t)
        for (int y = 0; y < 2; ++y)
          for (int x = 0; x < 2; ++x)
            EXPECT_EQ(patches[n * 24 + c * 8 + t * 4 + y * 2 + x],
                      float(picture.at(corners[n].first + y, corners[n].second + x)[c] * (1 / 255.0)));
  EXPECT_THROW(config.grid_of(Image(6, 4, 3)), Error);
  EXPECT_THROW(config.grid_of(Image(8, 4, 4)), Error);
}

TEST(Processor, LeavesPicturesOfTheRightSizeAlone) {
  SmartResize config;
  config.patch_size = 16, config.min_pixels = 32 * 32, config.max_pixels = 96 * 96;
  for (const auto& [width, height] : {std::pair{32, 32}, {64, 32}, {96, 32}, {64, 64}})
    EXPECT_EQ(config.size_of({width, height}), (Size{width, height}));
  // The rule of 28 pixels belongs to patches of 14; here a narrow picture becomes a square of its longer side.
  const Picture small{.samples = Image(20, 27, 3)};
  EXPECT_EQ(config.apply(small).width, 32);
  EXPECT_EQ(SmartResize().apply(small).width, 56);
}

TEST(Processor, ConfigurationIsWrittenReadAndChecked) {
  const TemporaryFolder folder("processor");
  SmartResize config;
  config.patch_size = 16, config.min_pixels = 1024, config.max_pixels = 9216;
  write_picture_rule(config, folder.path());
  const SmartResize read = rule_of(folder.path());
  EXPECT_EQ(read.factor(), 32);
  EXPECT_EQ(read.min_pixels, 1024);
  EXPECT_EQ(read.max_pixels, 9216);
  EXPECT_EQ(read.mean, config.mean);
  const auto load = [&](const json& changes) {
    json file = read_json(golden("qwen2_vl/tiny/preprocessor_config.json"));
    file.update(changes);
    write_json(folder / "preprocessor_config.json", file);
    return rule_of(folder.path());
  };
  EXPECT_EQ(load({{"min_pixels", 5000}}).min_pixels, 5000);
  EXPECT_EQ(load({{"size", {{"shortest_edge", 4000}}}}).min_pixels, 3136);  // the plain name goes first
  EXPECT_THROW(load({{"image_processor_type", "CLIPImageProcessor"}}), Error);
  EXPECT_THROW(load({{"do_normalize", false}}), Error);
  EXPECT_THROW(load({{"resample", 2}}), Error);
  EXPECT_THROW(load({{"rescale_factor", 1.0}}), Error);
  EXPECT_THROW(load({{"patch_size", 0}}), Error);
  EXPECT_THROW(load({{"min_pixels", 100}, {"max_pixels", 99}}), Error);
  EXPECT_EQ(load({{"max_pixels", 50176.0}}).max_pixels, 50176);
  const auto refused = [&](const char* field, const json& value, const std::string& sentence) {
    expect_error(Exit::data, sentence, [&] { load({{field, value}}); });
  };
  for (const json& mean : {json{0.5}, json{0.5, 0.5, 0.5, 0.5}, json{0.5, 0.5, "0.5"}, json(0.5)})
    refused("image_mean", mean, "preprocessor_config.json: image_mean is " + mean.dump() + ", expected three numbers");
  for (const json& bound : {json(3136.5), json("50176"), json(true), json(-1), json(1e30)})
    refused("min_pixels", bound, "min_pixels is " + bound.dump() + ", expected a whole number from 1 to");
  refused("do_resize", "no", "do_resize is \"no\": type must be boolean, but is string");
  write_json(folder / "preprocessor_config.json", read_json(golden("qwen2_vl/tiny/preprocessor_config.json")));
  write_json(folder / "processor_config.json", {{"image_processor", nullptr}});
  EXPECT_EQ(processor_file(folder.path()), folder / "preprocessor_config.json");
}

}  // namespace
}  // namespace vlm2vec
