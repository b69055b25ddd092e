// The image processors of SigLIP and BLIP, bit for bit: they resize to a square, whatever the picture's sides.
#pragma once
#include "vlm/image/center_crop.h"

namespace vlm2vec {

struct Square : FixedSize {
  Filter filter = Filter::bicubic;
  std::string image_processor;  // of transformers: "SiglipImageProcessor"

  Square(const char* image_processor, const char* of_family) : image_processor(image_processor) {
    patch_size = 0, picture_size = 224, processor_class = of_family;
  }
  // Reads settings over those of the rule. Throws Exit::data, without the file's name, for another image processor.
  void read(const nlohmann::json& settings);
  Image apply(Picture picture) const override;  // returns RGB
  std::string key() const override;
  nlohmann::ordered_json settings() const override;
};

}  // namespace vlm2vec
