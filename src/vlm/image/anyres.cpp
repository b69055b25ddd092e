#include "vlm/image/anyres.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"
#include "vlm/image/center_crop.h"
#include "vlm/image/smart_resize.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kMostTiles = 1 << 10;

// Scales to fit, as Python computes it: quotients in double, rounded up.
Size fitted(Size size, Size canvas) {
  const double across = double(canvas.width) / size.width, down = double(canvas.height) / size.height;
  if (across < down) return {canvas.width, std::min(int(std::ceil(size.height * across)), canvas.height)};
  return {std::min(int(std::ceil(size.width * down)), canvas.width), canvas.height};
}

void paste(const Image& from, Image& to, int left, int top) {
  for (int y = 0; y < from.height; ++y) std::copy_n(from.at(y, 0), size_t(from.width) * 3, to.at(top + y, left));
}

}  // namespace

std::vector<Size> read_canvases(const json& file, int tile) {
  std::vector<Size> canvases;
  const json five = {{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}};
  const json pairs = json_field(file, "image_grid_pinpoints", five);
  const auto side = [&](const json& x) {
    return x.is_number_integer() && x >= tile && x <= tile * kMostTiles && x.get<int64_t>() % tile == 0;
  };
  for (const json& pair : pairs) {
    if (!pair.is_array() || pair.size() != 2 || !side(pair[0]) || !side(pair[1]))
      fail(Exit::data, "image_grid_pinpoints has ", pair, ", expected a height and a width in multiples of ", tile);
    canvases.push_back({pair[1], pair[0]});
  }
  if (canvases.empty()) fail(Exit::data, "image_grid_pinpoints is ", pairs, ", expected pairs of height and width");
  return canvases;
}

AnyRes::AnyRes() { patch_size = 0, picture_size = 336, processor_class = "LlavaNextProcessor"; }

std::unique_ptr<PictureRule> AnyRes::read(const json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  const std::string type = json_field(file, "image_processor_type", std::string("LlavaNextImageProcessor"));
  if (type != "LlavaNextImageProcessor" && type != "LlavaNextImageProcessorFast" &&
      type != "LlavaNextImageProcessorPil")
    fail(Exit::data, "image_processor_type is ", type, ", expected LlavaNextImageProcessor");
  for (const char* step : {"do_center_crop", "do_pad"})
    if (!json_field(file, step, true))
      fail(Exit::data, step, " is false; pictures can only be processed with all steps");
  auto rule = std::make_unique<AnyRes>();
  rule->read_common(file);
  const int size = side_field(file, "size", {"shortest_edge"}, rule->picture_size);
  rule->picture_size = side_field(file, "crop_size", {"height", "width"}, size);
  if (size != rule->picture_size)
    fail(Exit::data, "size is ", size, " and crop_size ", rule->picture_size, ", expected equal ones");
  rule->canvases = read_canvases(file, rule->picture_size);
  return rule;
}

// Doubles and truncation in this order, as Python computes it.
Size AnyRes::canvas_of(Size size) const {
  Size best{};
  int64_t most = 0, least_waste = 0;
  for (const Size& canvas : canvases) {
    const double scale = std::min(double(canvas.width) / size.width, double(canvas.height) / size.height);
    const int64_t scaled = int64_t(size.width * scale) * int64_t(size.height * scale),
                  kept = std::min(scaled, int64_t(size.width) * size.height),
                  waste = int64_t(canvas.width) * canvas.height - kept;
    if (kept < most || (kept == most && best.width > 0 && waste >= least_waste)) continue;
    best = canvas, most = kept, least_waste = waste;
  }
  return best;
}

Image AnyRes::apply(Picture picture) const {
  if (exif) picture = turned(std::move(picture), picture.orientation);
  if (!image_resolution.empty()) picture = resize_like_v1(std::move(picture), image_resolution, 336);
  const Image rgb = to_rgb(std::move(picture));
  const Size canvas = canvas_of(rgb.size()), scaled = fitted(rgb.size(), canvas);
  Image image(canvas.width, canvas.height + picture_size, 3);
  image.source = rgb.size();
  paste(resize(rgb, scaled, Filter::bicubic), image, (canvas.width - scaled.width) / 2,
        (canvas.height - scaled.height) / 2);
  paste(resize(rgb, {picture_size, picture_size}, Filter::bicubic), image, 0, canvas.height);
  return image;
}

std::string AnyRes::key() const {
  std::string key = sentence("anyres ", picture_size, " ", image_resolution, exif ? " exif" : "");
  for (const Size& canvas : canvases) key += sentence(" ", canvas.width, "x", canvas.height);
  return key;
}

bool AnyRes::take_bounds(int64_t min, int64_t max, const std::string& file, const std::string& option) {
  if (min > 0 || max > 0)
    fail(Exit::usage, option, min > 0 ? "min" : "max", "_pixels: ", file,
         " gives the sizes of pictures, as image_grid_pinpoints; leave the option out");
  return false;
}

std::string AnyRes::take_resolution(const std::string& word) {
  image_resolution = word;
  return resolution_note(word);
}

ordered_json AnyRes::settings() const {
  ordered_json pairs;
  for (const Size& canvas : canvases) pairs.push_back({canvas.height, canvas.width});
  ordered_json all = CenterCrop().settings();  // the common steps
  all.update({{"image_processor_type", "LlavaNextImageProcessor"},
              {"processor_class", processor_class},
              {"size", {{"shortest_edge", picture_size}}},
              {"crop_size", {{"height", picture_size}, {"width", picture_size}}},
              {"do_pad", true},
              {"image_grid_pinpoints", pairs},
              {"image_mean", mean},
              {"image_std", std}});
  return all;
}

ordered_json AnyRes::processor_settings() const {
  return {{"processor_class", processor_class},
          {"image_token", "<image>"},
          {"num_additional_image_tokens", 1},
          {"patch_size", patch_size},
          {"vision_feature_select_strategy", "default"}};
}

void AnyRes::update(ordered_json& file, bool moved) const {
  if (moved && !file.contains("processor_class")) file["processor_class"] = processor_class;
}

Grid AnyRes::grid_of(const Image& image) const {
  if (image.source.width == 0) return PictureRule::grid_of(image);  // a tile
  const int side = picture_size / patch_size;
  Grid grid{0, side, side, image.height / picture_size - 1, image.width / picture_size};
  grid.t = 1 + grid.tile_rows * grid.tile_columns;
  // Scaled to all rows or all columns, the picture leaves padding of equal width on two sides.
  const int64_t rows = side * grid.tile_rows, columns = side * grid.tile_columns, width = image.source.width,
                height = image.source.height;
  const auto seen = [](int64_t all, int64_t some) { return int(all - (all - some) / 2 * 2); };
  const bool wide = width * rows > columns * height;
  grid.seen_rows = wide ? seen(rows, height * columns / width) : int(rows);
  grid.seen_columns = wide ? int(columns) : seen(columns, width * rows / height);
  return grid;
}

int AnyRes::tokens_of(const Grid& grid) const { return grid.h * grid.w + grid.seen_rows * (grid.seen_columns + 1); }

void AnyRes::write_patches(const Image& image, float* out) const {
  const Grid grid = grid_of(image);
  for (int slice = 0; slice < grid.t; ++slice, out += grid.h * grid.w * patch_values()) {
    const int tile = slice - 1, left = slice == 0 ? 0 : tile % grid.tile_columns * picture_size,
              top = slice == 0 ? grid.tile_rows * picture_size : tile / grid.tile_columns * picture_size;
    Image square(picture_size, picture_size, 3);
    for (int y = 0; y < picture_size; ++y)
      std::copy_n(image.at(top + y, left), size_t(picture_size) * 3, square.at(y, 0));
    PictureRule::write_patches(square, out);
  }
}

PictureRule::Laid AnyRes::on_image(const Grid& grid, std::span<const float> of_patches) const {
  Laid laid{(grid.tile_rows + 1) * grid.h, grid.tile_columns * grid.w, {}};
  laid.values.resize(size_t(laid.rows) * size_t(laid.columns));
  for (int patch = 0; const float value : of_patches) {
    const int slice = patch / (grid.h * grid.w), y = patch / grid.w % grid.h, x = patch % grid.w, tile = slice - 1;
    const int top = slice == 0 ? grid.tile_rows : tile / grid.tile_columns,
              left = slice == 0 ? 0 : tile % grid.tile_columns;
    laid.values[size_t((top * grid.h + y) * laid.columns + left * grid.w + x)] = value;
    ++patch;
  }
  return laid;
}

}  // namespace vlm2vec
