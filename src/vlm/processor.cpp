// A patch value has only 256 levels per channel, so normalising is a look-up: equal to the reference by construction.
#include "vlm/processor.h"

#include <algorithm>
#include <cmath>

#include "io/error.h"

namespace vlm2vec {
namespace {

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
