#include "vlm/image/center_crop.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "io/text.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kLargestSide = 1 << 14;

// (size - square) / 2, rounded; torchvision pads smaller pictures first, also by a half rounded down.
int first_of_middle(int size, int square, Middle middle) {
  const int down = size >= square ? (size - square) / 2 : -((square - size + 1) / 2);
  return middle == Middle::half_to_even && size > square ? int(std::nearbyint((size - square) / 2.0)) : down;
}

}  // namespace

int side_field(const json& file, const char* field, std::initializer_list<const char*> names, int otherwise) {
  if (!file.contains(field)) return otherwise;
  const json& given = file[field];
  const json side = given.is_object() && given.contains(*names.begin()) ? given[*names.begin()] : given;
  bool one = side.is_number_integer() && side >= 1 && side <= kLargestSide;
  for (const char* name : names) one &= !given.is_object() || (given.contains(name) && given[name] == side);
  if (!one) fail(Exit::data, field, " is ", given, ", expected a number of pixels, also as ", joined(names, " and "));
  return side;
}

std::unique_ptr<PictureRule> CenterCrop::read(const json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  const std::string older = json_field(file, "feature_extractor_type", std::string("CLIPImageProcessor")),
                    type = json_field(file, "image_processor_type", older);
  if (type != "CLIPImageProcessor" && type != "CLIPFeatureExtractor" && type != "CLIPImageProcessorFast" &&
      type != "CLIPImageProcessorPil")
    fail(Exit::data, "image_processor_type is ", type, ", expected CLIPImageProcessor");
  if (!json_field(file, "do_center_crop", true))
    fail(Exit::data, "do_center_crop is false; pictures can only be processed with all steps");
  auto rule = std::make_unique<CenterCrop>();
  rule->read_common(file);
  rule->shortest_edge = side_field(file, "size", {"shortest_edge"}, rule->shortest_edge);
  rule->picture_size = side_field(file, "crop_size", {"height", "width"}, rule->picture_size);
  return rule;
}

Image CenterCrop::apply(Picture picture) const {
  if (exif) picture = turned(std::move(picture), picture.orientation);
  Image rgb = to_rgb(std::move(picture));
  // As Python computes it: a quotient of whole numbers in double, rounded down.
  const double shorter = std::min(rgb.width, rgb.height);
  const auto side = [&](int pixels) { return int64_t(double(int64_t(shortest_edge) * pixels) / shorter); };
  const int64_t width = side(rgb.width), height = side(rgb.height);
  if (width * height > most_pixels)
    fail(Exit::data, rgb.width, "x", rgb.height, " pixels would become ", width, "x", height,
         " before the middle is cut out, expected at most ", most_pixels, " pixels; cut the picture");
  rgb = resize(rgb, {int(width), int(height)}, Filter::bicubic);
  const int left = first_of_middle(rgb.width, picture_size, middle),
            top = first_of_middle(rgb.height, picture_size, middle);
  Image square(picture_size, picture_size, 3);
  const int x = std::max(0, -left), columns = std::min(picture_size, rgb.width - left) - x;
  for (int y = std::max(0, -top); y < std::min(picture_size, rgb.height - top); ++y)
    std::copy_n(rgb.at(y + top, x + left), size_t(columns) * 3, square.at(y, x));
  return square;
}

std::string CenterCrop::key() const {
  return sentence("center_crop ", shortest_edge, " ", picture_size, middle == Middle::half_to_even ? " even" : "",
                  exif ? " exif" : "");
}

bool FixedSize::take_bounds(int64_t min, int64_t max, const std::string& file, const std::string& option) {
  if (min > 0 || max > 0)
    fail(Exit::usage, option, min > 0 ? "min" : "max", "_pixels: by ", file, " every picture becomes ", picture_size,
         "x", picture_size, " pixels; leave the option out");
  return false;
}

std::string FixedSize::take_resolution(const std::string& word) {
  if (!word.empty())
    fail(Exit::usage, "--image_resolution ", word, ": every picture becomes ", picture_size, "x", picture_size,
         " pixels; leave the option out");
  return "";
}

ordered_json CenterCrop::settings() const {
  return {{"image_processor_type", "CLIPImageProcessor"}, {"processor_class", processor_class},
          {"size", {{"shortest_edge", shortest_edge}}},
          {"crop_size", {{"height", picture_size}, {"width", picture_size}}},
          {"do_resize", true}, {"do_center_crop", true}, {"do_rescale", true}, {"do_normalize", true},
          {"do_convert_rgb", true}, {"resample", 3}, {"rescale_factor", 1 / 255.0},
          {"image_mean", mean}, {"image_std", std}};
}

void FixedSize::update(ordered_json& file, bool moved) const {
  if (moved && !file.contains("processor_class")) file["processor_class"] = processor_class;
}

}  // namespace vlm2vec
