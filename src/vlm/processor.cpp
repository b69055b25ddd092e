// A patch value has only 256 levels per channel, so normalising is a look-up: equal to the reference by construction.
#include "vlm/processor.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/files.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

ProcessorConfig parse_processor(const json& file) {
  if (const std::string type = file.value("image_processor_type", "Qwen2VLImageProcessor");
      type != "Qwen2VLImageProcessor" && type != "Qwen2VLImageProcessorFast")
    fail(Exit::data, "image_processor_type is ", type, ", expected Qwen2VLImageProcessor");
  for (const char* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"})
    if (!file.value(step, true)) fail(Exit::data, step, " is false; pictures can only be processed with all steps");
  constexpr int bicubic = 3;  // Pillow's number
  if (file.value("resample", bicubic) != bicubic)
    fail(Exit::data, "resample is ", file["resample"], ", expected 3 (bicubic)");
  if (file.value("rescale_factor", 1 / 255.0) != 1 / 255.0)
    fail(Exit::data, "rescale_factor is ", file["rescale_factor"], ", expected 1/255");

  ProcessorConfig config;
  config.patch_size = file.value("patch_size", config.patch_size);
  config.temporal_patch_size = file.value("temporal_patch_size", config.temporal_patch_size);
  config.merge_size = file.value("merge_size", config.merge_size);
  const json size = file.value("size", json::object());  // newer files; its "edges" are areas
  config.min_pixels = file.value("min_pixels", size.value("shortest_edge", config.min_pixels));
  config.max_pixels = file.value("max_pixels", size.value("longest_edge", config.max_pixels));
  config.mean = file.value("image_mean", config.mean);
  config.std = file.value("image_std", config.std);
  if (config.patch_size < 1 || config.temporal_patch_size < 1 || config.merge_size < 1)
    fail(Exit::data, "patch_size, temporal_patch_size and merge_size must be positive");
  for (const double std : config.std)
    if (!(std > 0)) fail(Exit::data, "image_std is ", json(config.std), ", expected three positive numbers");
  if (config.min_pixels < 1 || config.max_pixels < config.min_pixels)
    fail(Exit::data, "min_pixels ", config.min_pixels, " to max_pixels ", config.max_pixels, " is no range");
  return config;
}

// The 256 levels of one channel: float32(double(u8) * (1/255)), then float32 arithmetic, as numpy does it.
std::array<float, 256> levels_of(double mean, double std) {
  std::array<float, 256> levels;
  for (int u8 = 0; u8 < 256; ++u8) levels[u8] = (float(u8 * (1 / 255.0)) - float(mean)) / float(std);
  return levels;
}

Picture resize_like_v1(Picture picture, const std::string& resolution) {
  const Size size = picture.samples.size();
  int side = resolution == "high" ? 1344 : resolution == "mid" ? 672 : resolution == "low" ? 128 : 0;
  if (side == 0 && std::max(size.width, size.height) > 1344) side = 1344;
  if (side == 0) return picture;
  // The default of Pillow 10.4, which V1 pins: what has a number of bits in its mode's name (I;16) gets nearest.
  return resize(picture, {side, side}, picture.mode == Mode::gray16 ? Filter::nearest : Filter::bicubic);
}

}  // namespace

ProcessorConfig ProcessorConfig::load(const std::filesystem::path& model_dir) {
  const auto path = model_dir / "preprocessor_config.json";
  const json config = read_settings(path);
  try {
    return parse_processor(config);
  } catch (const json::exception& error) {
    fail(Exit::data, path.string(), ": ", error.what());
  } catch (const Error& error) {
    fail(error.code, path.string(), ": ", error.what());
  }
}

void ProcessorConfig::save(const std::filesystem::path& model_dir) const {
  write_json(model_dir / "preprocessor_config.json", {{"image_processor_type", "Qwen2VLImageProcessor"},
                                                      {"patch_size", patch_size},
                                                      {"temporal_patch_size", temporal_patch_size},
                                                      {"merge_size", merge_size},
                                                      {"min_pixels", min_pixels},
                                                      {"max_pixels", max_pixels},
                                                      {"image_mean", mean},
                                                      {"image_std", std}});
}

// Doubles in this order, and round half to even, as Python computes it: a different last bit can move a side.
Size smart_resize(Size size, const ProcessorConfig& config) {
  const int factor = config.factor();
  auto [width, height] = size;
  const int shorter = std::min(width, height), longer = std::max(width, height);
  if (shorter < factor || longer > 200.0 * shorter) width = height = std::max(factor, longer);
  const auto sides = [&](auto units) {  // units: pixels -> number of factors
    const auto side = [&](int pixels) { return std::max(1, int(units(double(pixels)))) * factor; };
    return Size{side(width), side(height)};
  };
  const double area = double(width) * height;
  const Size nearest = sides([&](double pixels) { return std::nearbyint(pixels / factor); });
  const int64_t nearest_area = int64_t(nearest.width) * nearest.height;
  if (nearest_area > config.max_pixels) {
    const double scale = std::sqrt(area / config.max_pixels);
    return sides([&](double pixels) { return std::floor(pixels / scale / factor); });
  }
  if (nearest_area < config.min_pixels) {
    const double scale = std::sqrt(config.min_pixels / area);
    return sides([&](double pixels) { return std::ceil(pixels * scale / factor); });
  }
  return nearest;
}

Image resize_for_model(Picture picture, const ProcessorConfig& config) {
  if (config.exif) picture = turned(std::move(picture), picture.orientation);
  const bool v1 = !config.image_resolution.empty();
  if (v1) picture = resize_like_v1(std::move(picture), config.image_resolution);
  Image rgb = to_rgb(std::move(picture));
  // V2's rule was written for patches of 14.
  if (!v1 && config.factor() == 28 && std::min(rgb.width, rgb.height) < 28)
    rgb = resize(rgb, {56, 56}, Filter::bicubic);
  const Size size = smart_resize(rgb.size(), config);
  return size == rgb.size() ? rgb : resize(rgb, size, Filter::bicubic);
}

Grid grid_of(const Image& resized, const ProcessorConfig& config) {
  CHECK(resized.channels == 3 && resized.width % config.factor() == 0 && resized.height % config.factor() == 0,
        "grid_of: ", resized.width, "x", resized.height, "x", resized.channels,
        ", expected RGB with sides of multiples of ", config.factor(), "; resize_for_model makes such pictures");
  return {1, resized.height / config.patch_size, resized.width / config.patch_size};
}

void write_patches(const Image& resized, const ProcessorConfig& config, float* out) {
  const Grid grid = grid_of(resized, config);
  const int patch = config.patch_size, frame = patch * patch;
  const int channel_stride = config.temporal_patch_size * frame;
  std::array<std::array<float, 256>, 3> levels;
  for (int c = 0; c < 3; ++c) levels[c] = levels_of(config.mean[c], config.std[c]);
  for_each_patch(grid, config.merge_size, [&](int row, int column) {
    for (int y = 0; y < patch; ++y) {
      const uint8_t* from = resized.at(row * patch + y, column * patch);
      float* to = out + y * patch;
      for (int x = 0; x < patch; ++x, from += 3, ++to)
        for (int c = 0; c < 3; ++c) to[c * channel_stride] = levels[c][from[c]];
    }
    for (int c = 0; c < 3; ++c)
      for (int t = 1; t < config.temporal_patch_size; ++t)
        std::copy_n(out + c * channel_stride, frame, out + c * channel_stride + t * frame);
    out += config.patch_values();
  });
}

}  // namespace vlm2vec
