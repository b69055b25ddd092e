// A patch value has only 256 levels per channel, so normalising is a look-up: equal to the reference by construction.
#include "vlm/image/picture_rule.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;

// The 256 levels of one channel: float32(double(u8) * (1/255)), then float32 arithmetic, as numpy does it.
std::array<float, 256> levels_of(double mean, double std) {
  std::array<float, 256> levels;
  for (int u8 = 0; u8 < 256; ++u8) levels[u8] = (float(u8 * (1 / 255.0)) - float(mean)) / float(std);
  return levels;
}

std::array<double, 3> three(const json& file, const char* name, const std::array<double, 3>& otherwise) {
  const auto is_number = [](const json& value) { return value.is_number(); };
  if (file.contains(name) &&
      !(file[name].is_array() && file[name].size() == 3 && std::ranges::all_of(file[name], is_number)))
    fail(Exit::data, name, " is ", file[name], ", expected three numbers");
  return file.value(name, otherwise);
}

}  // namespace

void PictureRule::read_common(const json& file, Filter* filter) {
  for (const char* step : {"do_resize", "do_rescale", "do_normalize", "do_convert_rgb"})
    if (!file.value(step, json()).is_null() && !json_field(file, step, true))
      fail(Exit::data, step, " is false; pictures can only be processed with all steps");
  constexpr int bilinear = 2, bicubic = 3;  // Pillow's numbers
  const int resample = json_field(file, "resample", bicubic);
  if (resample != bicubic && !(filter && resample == bilinear))
    fail(Exit::data, "resample is ", file["resample"], ", expected ", filter ? "2 (bilinear) or " : "", "3 (bicubic)");
  if (filter) *filter = resample == bilinear ? Filter::bilinear : Filter::bicubic;
  if (json_field(file, "rescale_factor", 1 / 255.0) != 1 / 255.0)
    fail(Exit::data, "rescale_factor is ", file["rescale_factor"], ", expected 1/255");
  mean = three(file, "image_mean", mean);
  std = three(file, "image_std", std);
  for (const double x : std)
    if (!(x > 0)) fail(Exit::data, "image_std is ", json(std), ", expected three positive numbers");
}

std::array<std::array<float, 256>, 3> PictureRule::levels() const {
  return {levels_of(mean[0], std[0]), levels_of(mean[1], std[1]), levels_of(mean[2], std[2])};
}

nlohmann::ordered_json PictureRule::processor_settings() const { return {}; }

Grid PictureRule::grid_of(const Image& image) const {
  const bool fits = picture_size > 0 || (image.width % factor() == 0 && image.height % factor() == 0);
  CHECK(image.channels == 3 && fits, "grid_of: ", image.width, "x", image.height, "x", image.channels,
        ", expected RGB with sides of multiples of ", factor(),
        "; apply() makes such pictures");
  return {1, image.height / patch_size, image.width / patch_size};
}

void PictureRule::write_patches(const Image& image, float* out) const {
  const Grid grid = PictureRule::grid_of(image);
  const int patch = patch_size, frame = patch * patch;
  const int channel_stride = temporal_patch_size * frame;
  const auto level = levels();
  for_each_patch(grid, merge_size, [&](int row, int column) {
    for (int y = 0; y < patch; ++y) {
      const uint8_t* from = image.at(row * patch + y, column * patch);
      float* to = out + y * patch;
      for (int x = 0; x < patch; ++x, from += 3, ++to)
        for (int c = 0; c < 3; ++c) to[c * channel_stride] = level[c][from[c]];
    }
    for (int c = 0; c < 3; ++c)
      for (int t = 1; t < temporal_patch_size; ++t)
        std::copy_n(out + c * channel_stride, frame, out + c * channel_stride + t * frame);
    out += patch_values();
  });
}

PictureRule::Laid PictureRule::on_image(const Grid& grid, std::span<const float> of_patches) const {
  Laid laid{grid.h, grid.w, std::vector<float>(of_patches.size())};
  for_each_patch(grid, merge_size, [&, patch = size_t(0)](int row, int column) mutable {
    laid.values[size_t(row * grid.w + column)] = of_patches[patch++];
  });
  return laid;
}

}  // namespace vlm2vec
