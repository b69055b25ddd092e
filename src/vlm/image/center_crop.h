// CLIP's image processor, bit for bit: it resizes the shorter side to a size and cuts the middle out as a square.
#pragma once
#include <initializer_list>
#include <memory>

#include "vlm/image/picture_rule.h"

namespace vlm2vec {

// Reads a number of pixels, or an object whose members `names` all have it.
int side_field(const nlohmann::json& file, const char* field, std::initializer_list<const char*> names, int otherwise);

// Where the middle begins if as many pixels cannot go on both sides.
enum class Middle {
  down,          // transformers
  half_to_even,  // torchvision, which OpenCLIP and OpenAI's own code take
};

// Every picture gets the same size, picture_size.
struct FixedSize : PictureRule {
  bool take_bounds(int64_t min_pixels, int64_t max_pixels, const std::string& file, const std::string& option) override;
  std::string take_resolution(const std::string& word) override;
  void update(nlohmann::ordered_json& settings, bool moved) const override;
};

struct CenterCrop : FixedSize {
  int shortest_edge = 224;  // after resizing; picture_size: side of the square
  Middle middle = Middle::down;

  CenterCrop() { patch_size = 0, picture_size = 224, processor_class = "CLIPProcessor"; }
  // Throws Exit::data, without the file's name, for anything but CLIP's image processor.
  static std::unique_ptr<PictureRule> read(const nlohmann::json& settings);

  // Returns RGB. A square larger than the picture is black around it.
  Image apply(Picture picture) const override;
  std::string key() const override;
  nlohmann::ordered_json settings() const override;
};

}  // namespace vlm2vec
