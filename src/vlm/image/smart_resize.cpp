#include "vlm/image/smart_resize.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/error.h"
#include "vlm/config_fields.h"

namespace vlm2vec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Reads a whole number from 1, also written as 3136.0.
int64_t whole(const json& file, const char* name, int64_t otherwise, int64_t most = int64_t(1) << 50) {
  if (!file.contains(name)) return otherwise;
  const double value = file[name].is_number() ? file[name].get<double>() : 0;
  if (!(value >= 1 && value <= double(most) && value == std::floor(value)))
    fail(Exit::data, name, " is ", file[name], ", expected a whole number from 1 to ", most);
  return int64_t(value);
}

// Reads a bound by its own name, else from `size`, whose "edges" are areas. Other spellings of size are refused:
// transformers 4.45 to 4.48 ignored them, later versions refuse them.
int64_t bound(const json& file, const char* name, const char* edge, int64_t otherwise) {
  if (file.contains(name)) return whole(file, name, otherwise);
  const json size = json_field(file, "size", json::object());
  if (!size.empty() && !size.contains(edge))
    fail(Exit::data, "size is ", size, " without ", edge, ", and there is no ", name,
         " beside it; transformers reads size only with shortest_edge and longest_edge, which are areas in pixels");
  return whole(size, edge, otherwise);
}

// As Pillow pastes RGBA on a white picture.
Image laid_on_white(const Image& rgba) {
  Image rgb(rgba.width, rgba.height, 3);
  for (size_t i = 0, n = size_t(rgba.width) * size_t(rgba.height); i < n; ++i) {
    const int alpha = rgba.pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const int sum = rgba.pixels[4 * i + c] * alpha + 255 * (255 - alpha) + 128;
      rgb.pixels[3 * i + c] = uint8_t(((sum >> 8) + sum) >> 8);
    }
  }
  return rgb;
}

}  // namespace

Picture resize_like_v1(Picture picture, const std::string& resolution, int low) {
  const Size size = picture.samples.size();
  int side = resolution == "high" ? 1344 : resolution == "mid" ? 672 : resolution == "low" ? low : 0;
  if (side == 0 && std::max(size.width, size.height) > 1344) side = 1344;
  if (side == 0) return picture;
  // Pillow 10.4, which V1 pins: modes with a number of bits in their name (I;16) get nearest by default.
  return resize(picture, {side, side}, picture.mode == Mode::gray16 ? Filter::nearest : Filter::bicubic);
}

std::string resolution_note(const std::string& word) {
  if (word.empty() || word == "high" || word == "mid" || word == "low") return "";
  return "--image_resolution " + word +
         " is none of high, mid and low: as in VLM2Vec V1, only pictures with a side above 1344 are resized";
}

std::unique_ptr<PictureRule> SmartResize::read(const json& file) {
  if (!file.is_object()) fail(Exit::data, "is ", file.type_name(), ", expected an object {...}");
  if (const std::string type = json_field(file, "image_processor_type", std::string("Qwen2VLImageProcessor"));
      type != "Qwen2VLImageProcessor" && type != "Qwen2VLImageProcessorFast" && type != "Qwen2VLImageProcessorPil")
    fail(Exit::data, "image_processor_type is ", type, ", expected Qwen2VLImageProcessor");
  if (json_field(file, "do_center_crop", false)) fail(Exit::data, "do_center_crop is true; pictures are never cropped");
  auto rule = std::make_unique<SmartResize>();
  rule->read_common(file);
  constexpr int64_t most_size = 1 << 20;
  rule->patch_size = int(whole(file, "patch_size", rule->patch_size, most_size));
  rule->temporal_patch_size = int(whole(file, "temporal_patch_size", rule->temporal_patch_size, most_size));
  rule->merge_size = int(whole(file, "merge_size", rule->merge_size, most_size));
  rule->min_pixels = bound(file, "min_pixels", "shortest_edge", rule->min_pixels);
  rule->max_pixels = bound(file, "max_pixels", "longest_edge", rule->max_pixels);
  if (rule->max_pixels < rule->min_pixels)
    fail(Exit::data, "min_pixels ", rule->min_pixels, " to max_pixels ", rule->max_pixels, " is not a range");
  return rule;
}

// Doubles in this order, and round half to even, as Python computes it: a different last bit can move a side.
Size SmartResize::size_of(Size size) const {
  auto [width, height] = size;
  const int shorter = std::min(width, height), longer = std::max(width, height);
  const bool long_sides = longer > 200.0 * shorter;
  if (sides == Sides::vlm2vec && (shorter < factor() || long_sides)) width = height = std::max(factor(), longer);
  const auto refuse = [&](const char* why) {
    fail(Exit::data, "the picture is ", width, "x", height, "; ", why, "; crop it or leave it out");
  };
  if (long_sides && (sides == Sides::transformers || sides == Sides::qwen_vl_utils))
    refuse("this model's processor refuses sides beyond 200 : 1");
  const auto multiples = [&](int least, auto units) {  // units: pixels -> number of factors
    const auto side = [&](int pixels) { return std::max(least, int(units(double(pixels)))) * factor(); };
    return Size{side(width), side(height)};
  };
  const double area = double(width) * height;
  const bool of_transformers = sides == Sides::vlm2vec || sides == Sides::transformers;
  Size found = multiples(sides == Sides::transformers ? 0 : 1,
                         [&](double pixels) { return std::nearbyint(pixels / factor()); });
  const int64_t nearest_area = int64_t(found.width) * found.height;
  if (nearest_area > max_pixels) {
    const double scale = std::sqrt(area / max_pixels);
    found = multiples(of_transformers ? 1 : 0, [&](double pixels) { return std::floor(pixels / scale / factor()); });
  } else if (nearest_area < min_pixels) {
    const double scale = std::sqrt(min_pixels / area);
    found = multiples(1, [&](double pixels) { return std::ceil(pixels * scale / factor()); });
  }
  if (found.width == 0 || found.height == 0) refuse("within the bounds of its area a side would vanish");
  if (sides != Sides::gme) return found;
  return {std::min(found.width, 200 * found.height), std::min(found.height, 200 * found.width)};
}

Image SmartResize::apply(Picture picture) const {
  if (before) return resized(before->apply(std::move(picture)));
  if (exif) picture = turned(std::move(picture), picture.orientation);
  const bool v1 = !image_resolution.empty();
  if (v1) picture = resize_like_v1(std::move(picture), image_resolution, 128);
  Image rgb = on_white && picture.mode == Mode::rgba ? laid_on_white(picture.samples) : to_rgb(std::move(picture));
  // V2's rule was written for patches of 14.
  if (!v1 && sides == Sides::vlm2vec && factor() == 28 && std::min(rgb.width, rgb.height) < 28)
    rgb = resize(rgb, {56, 56}, Filter::bicubic);
  return resized(std::move(rgb));
}

Image SmartResize::resized(Image rgb) const {
  const Size size = size_of(rgb.size());
  return size == rgb.size() ? rgb : resize(rgb, size, Filter::bicubic);
}

std::unique_ptr<PictureRule> SmartResize::along(PictureRoute route) const {
  auto rule = std::make_unique<SmartResize>(*this);
  if (route == PictureRoute::qwen3_embedding) {
    rule->sides = Sides::qwen_vl_utils, rule->on_white = true;
    if (!min_given) rule->min_pixels = 4096;
    if (!max_given) rule->max_pixels = 1'843'200;
  } else if (route == PictureRoute::gme) {
    auto first = std::make_shared<SmartResize>(*this);
    first->sides = Sides::gme;
    first->min_pixels = 4 * factor() * factor(), first->max_pixels = 16384 * factor() * factor();
    rule->before = std::move(first);
  }
  return rule;
}

std::string SmartResize::key() const {
  return sentence("smart_resize ", factor(), " ", min_pixels, " ", max_pixels, " ", image_resolution,
                  exif ? " exif" : "", " ", int(sides), on_white ? " on white" : "",
                  before ? " after " + before->key() : "");
}

bool SmartResize::take_bounds(int64_t min, int64_t max, const std::string& file, const std::string& option) {
  const auto before = std::pair(min_pixels, max_pixels);
  if (min > 0) min_pixels = min, min_given = true;
  if (max > 0) max_pixels = max, max_given = true;
  const auto source = [&](bool given, const char* field, int64_t value) {
    return given ? sentence(option, field, " ", value) : sentence(field, " ", value, " of ", file);
  };
  if (min_pixels > max_pixels)
    fail(Exit::usage, source(max > 0, "max_pixels", max_pixels), " is below ",
         source(min > 0, "min_pixels", min_pixels), "; ",
         min > 0 && max > 0 ? sentence("give the smaller one as ", option, "min_pixels")
         : max > 0          ? sentence("give ", option, "min_pixels too, at most ", max_pixels)
                            : sentence("give ", option, "max_pixels too, at least ", min_pixels));
  return before != std::pair(min_pixels, max_pixels);
}

std::string SmartResize::take_resolution(const std::string& word) {
  image_resolution = word;
  return resolution_note(word);
}

ordered_json SmartResize::settings() const {
  return {{"image_processor_type", "Qwen2VLImageProcessor"},
          {"processor_class", processor_class},
          {"patch_size", patch_size},
          {"temporal_patch_size", temporal_patch_size},
          {"merge_size", merge_size},
          {"min_pixels", min_pixels},
          {"max_pixels", max_pixels},
          {"size", {{"shortest_edge", min_pixels}, {"longest_edge", max_pixels}}},
          {"image_mean", mean},
          {"image_std", std}};
}

void SmartResize::update(ordered_json& file, bool moved) const {
  const bool edges = !file.contains("size") || file["size"].is_null() || file["size"].contains("shortest_edge");
  if (!moved && edges) return;
  file["min_pixels"] = min_pixels, file["max_pixels"] = max_pixels;
  file["size"] = {{"shortest_edge", min_pixels}, {"longest_edge", max_pixels}};
  if (!file.contains("processor_class")) file["processor_class"] = processor_class;
}

}  // namespace vlm2vec
