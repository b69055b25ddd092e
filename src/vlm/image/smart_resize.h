// Pictures as Qwen2-VL's image processor prepares them, bit for bit: resized to multiples of patch_size merge_size,
// with an area within bounds.
#pragma once
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

struct SmartResize : PictureRule {
  int64_t min_pixels = 56 * 56, max_pixels = 28 * 28 * 1280;
  // Of no file: V1's --image_resolution (high, mid, low or another word); empty: VLM2Vec V2, which converts first.
  std::string image_resolution = "";

  SmartResize() { temporal_patch_size = merge_size = 2; }
  // Exit::data, without the file's name, for anything but Qwen2-VL's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // As RGB, in the size of size_of(). Before that VLM2Vec resizes by itself: V2 to 56x56 what has a side below 28; V1,
  // in the file's own mode, to 1344x1344 (high), 672x672 (mid) or 128x128 (low); with another word to 1344x1344 what
  // has a side above it.
  Image apply(Picture picture) const override;
  std::string key() const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
  std::string unlike(const PictureRule& other) const override;

  // The size that a picture is resized to: nearest multiples of the factor, scaled down or up where the area is out of
  // bounds. VLM2Vec's rule: a side below the factor, or sides beyond 200 : 1, and the longer side is taken for both.
  Size size_of(Size size) const;
};

}  // namespace vlm2vec
