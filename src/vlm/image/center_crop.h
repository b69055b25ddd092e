// CLIP's image processor, bit for bit: it resizes the shorter side to a size and cuts the middle out as a square.
#pragma once
#include <initializer_list>
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// Reads a number of pixels, or an object whose members `names` all have it.
int side_field(const nlohmann::json& file, const char* field, std::initializer_list<const char*> names, int otherwise);

struct CenterCrop : PictureRule {
  int shortest_edge = 224;  // after resizing; picture_size: side of the square

  CenterCrop() { patch_size = 0, picture_size = 224, processor_class = "CLIPProcessor"; }
  // Throws Exit::data, without the file's name, for anything but CLIP's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // Returns RGB. A square larger than the picture is black around it.
  Image apply(Picture picture) const override;
  std::string key() const override;
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  nlohmann::ordered_json settings() const override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
};

}  // namespace vlm2vec
