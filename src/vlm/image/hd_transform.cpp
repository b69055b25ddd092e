#include "vlm/image/hd_transform.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kTile = 336;

Image transposed(const Image& image) {
  Image turned(image.height, image.width, 3);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) std::copy_n(image.at(y, x), 3, turned.at(x, y));
  return turned;
}

// The four samples around each point of a line that is resized, and their weights (Keys 1981, a = -0.75).
struct Tap {
  int at[4];
  float weight[4];
};

std::vector<Tap> taps_of_line(int from, int to) {
  constexpr double a = -0.75;
  const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  std::vector<Tap> taps;
  for (int i = 0; i < to; ++i) {
    const double place = (i + 0.5) * from / to - 0.5, floor = std::floor(place), t = place - floor;
    Tap tap{{}, {float(far(t + 1)), float(near(t)), float(near(1 - t)), float(far(2 - t))}};
    for (int k = 0; k < 4; ++k) tap.at[k] = std::clamp(int(floor) - 1 + k, 0, from - 1);
    taps.push_back(tap);
  }
  return taps;
}

template <class Sample>
float weighted(const Tap& tap, Sample sample) {
  float sum = 0;
  for (int k = 0; k < 4; ++k) sum += tap.weight[k] * sample(tap.at[k]);
  return sum;
}

}  // namespace

int hd_vectors(const Grid& grid, int merge) {
  const int side = grid.h / merge, rows = grid.tile_rows * side, columns = grid.tile_columns * side;
  return rows * (columns + 1) + 1 + side * (side + 1);
}

std::unique_ptr<PictureRule> HdTransform::read(const json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  if (const std::string type = json_field(file, "image_processor_type", std::string("Phi3VImageProcessor"));
      type != "Phi3VImageProcessor")
    fail(Exit::data, "image_processor_type is ", type, ", expected Phi3VImageProcessor");
  auto rule = std::make_unique<HdTransform>();
  rule->read_common(file);
  const auto number = [&](const char* name, int otherwise, int most) {
    const int value = json_field(file, name, otherwise);
    if (value < 1 || value > most) fail(Exit::data, name, " is ", value, ", expected a whole number from 1 to ", most);
    return value;
  };
  rule->num_crops = number("num_crops", rule->num_crops, 1024);
  rule->picture_size = number("crop_size", rule->picture_size, 1 << 14);
  return rule;
}

// Doubles in this order, rounded down, as Python computes it.
HdTransform::Fit HdTransform::fit(Size wide) const {
  const double ratio = double(wide.width) / wide.height;
  int tiles = 1;
  while ((tiles + 1) * std::ceil((tiles + 1) / ratio) <= num_crops) ++tiles;
  const int width = picture_size * tiles, height = int(width / ratio);
  if (height == 0)
    fail(Exit::data, wide.width, "x", wide.height, " pixels would become ", width,
         "x0; one side may be at most that many times the other: cut the picture");
  return {{width, height}, int(std::ceil(height / double(picture_size))) * picture_size};
}

Size HdTransform::size_of(Size size) const {
  const bool tall = size.width < size.height;
  const Fit f = fit(tall ? Size{size.height, size.width} : size);
  return tall ? Size{f.height, f.resized.width} : Size{f.resized.width, f.height};
}

Image HdTransform::apply(Picture picture) const {
  if (exif) picture = turned(std::move(picture), picture.orientation);
  Image rgb = to_rgb(std::move(picture));
  const bool tall = rgb.width < rgb.height;
  if (tall) rgb = transposed(rgb);
  const Fit f = fit(rgb.size());
  rgb = resize(rgb, f.resized, Filter::bilinear);
  Image filled(rgb.width, f.height, 3);
  std::ranges::fill(filled.pixels, uint8_t(255));
  std::ranges::copy(rgb.pixels, filled.at((f.height - rgb.height) / 2, 0));
  return tall ? transposed(filled) : filled;
}

std::string HdTransform::key() const {
  return sentence("hd_transform ", picture_size, " ", num_crops, exif ? " exif" : "");
}

Grid HdTransform::grid_of(const Image& image) const {
  CHECK(image.channels == 3 && image.width % picture_size == 0 && image.height % picture_size == 0, "grid_of: ",
        image.width, "x", image.height, "x", image.channels, ", expected RGB in tiles of ", picture_size);
  const int side = picture_size / patch_size, rows = image.height / picture_size, columns = image.width / picture_size;
  return {1 + rows * columns, side, side, rows, columns};
}

void HdTransform::write_patches(const Image& image, float* out) const {
  const Grid grid = grid_of(image);
  const int side = picture_size, p = patch_size;
  const auto level = levels();
  const std::vector<Tap> across = taps_of_line(image.width, side), down = taps_of_line(image.height, side);
  std::vector<float> narrow(size_t(image.height) * size_t(side) * 3);  // resized along its lines
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < side; ++x)
      for (size_t c = 0; c < 3; ++c)
        narrow[(size_t(y) * size_t(side) + size_t(x)) * 3 + c] =
            weighted(across[size_t(x)], [&](int at) { return level[c][image.at(y, at)[c]]; });
  for_each_patch({1, grid.h, grid.w}, merge_size, [&](int row, int column) {
    for (size_t c = 0; c < 3; ++c)
      for (int y = row * p; y < (row + 1) * p; ++y)
        for (int x = column * p; x < (column + 1) * p; ++x)
          *out++ = weighted(down[size_t(y)],
                            [&](int at) { return narrow[(size_t(at) * size_t(side) + size_t(x)) * 3 + c]; });
  });
  Image tile(side, side, 3);
  for (int row = 0; row < grid.tile_rows; ++row)
    for (int column = 0; column < grid.tile_columns; ++column) {
      for (int y = 0; y < side; ++y)
        std::copy_n(image.at(row * side + y, column * side), size_t(side) * 3, tile.at(y, 0));
      PictureRule::write_patches(tile, out);
      out += int64_t(grid.h) * grid.w * patch_values();
    }
}

PictureRule::Laid HdTransform::on_image(const Grid& grid, std::span<const float> of_patches) const {
  const int down = grid.tile_rows, across = grid.tile_columns, tiles = down * across;
  Laid laid{grid.h * down, grid.w * across, std::vector<float>(size_t(grid.h * down * grid.w * across))};
  const auto at = [&](int y, int x) -> float& { return laid.values[size_t(y * laid.columns + x)]; };
  size_t patch = 0;
  for_each_patch({1, grid.h, grid.w}, merge_size, [&](int row, int column) {
    const float share = of_patches[patch++] / float(tiles);
    for (int y = row * down; y < (row + 1) * down; ++y)
      for (int x = column * across; x < (column + 1) * across; ++x) at(y, x) = share;
  });
  for (int tile = 0; tile < tiles; ++tile)
    for_each_patch({1, grid.h, grid.w}, merge_size, [&](int row, int column) {
      at(tile / across * grid.h + row, tile % across * grid.w + column) += of_patches[patch++];
    });
  return laid;
}

bool HdTransform::take_bounds(int64_t min, int64_t max, const std::string& file, const std::string& option) {
  if (min > 0 || max > 0)
    fail(Exit::usage, option, min > 0 ? "min" : "max", "_pixels: by ", file, " every picture becomes tiles of ",
         picture_size, "x", picture_size, " pixels; --num_crops limits their number");
  return false;
}

std::string HdTransform::take_resolution(const std::string& word) {
  if (word.empty()) return "";
  return "--image_resolution " + word + " has no effect: VLM2Vec V1 resizes no picture of this family";
}

ordered_json HdTransform::settings() const {
  ordered_json file = {{"image_processor_type", "Phi3VImageProcessor"},
                       {"processor_class", processor_class},
                       {"num_crops", num_crops},
                       {"num_img_tokens", 144},
                       {"do_convert_rgb", true},
                       {"image_mean", mean},
                       {"image_std", std}};
  if (picture_size != kTile) file["crop_size"] = picture_size;
  return file;
}

void HdTransform::update(ordered_json& file, bool moved) const {
  if (!moved) return;
  file["num_crops"] = num_crops;
  if (!file.contains("processor_class")) file["processor_class"] = processor_class;
}

}  // namespace vlm2vec
