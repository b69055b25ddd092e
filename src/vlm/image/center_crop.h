// Pictures as CLIP's image processor prepares them, bit for bit: the shorter side is resized to a size, the middle is
// cut out as a square.
#pragma once
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

struct CenterCrop : PictureRule {
  int shortest_edge = 224;  // after resizing; picture_size: of the square

  CenterCrop() { patch_size = 0, picture_size = 224; }
  // Exit::data, without the file's name, for anything but CLIP's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // As RGB. Where the square is larger than the picture, it is black around it.
  Image apply(Picture picture) const override;
  std::string key() const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
  std::string unlike(const PictureRule& other) const override;
};

}  // namespace vlm2vec
