// How a model is loaded and reads rows.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "tensor/storage.h"

namespace vlm2vec {

class ImageCache;

struct EncoderOptions {
  Device device = Device::cpu;
  bool f64 = false;                        // everything in double precision, for tests
  bool bf16 = false;                       // products with weights in bf16, sums in f32
  int64_t min_pixels = 0, max_pixels = 0;  // bounds of a picture's area; 0: those of the processor's file
  int64_t max_len = 0;                     // tokens of a row, pictures included; beyond it is cut off; 0: the model's
  std::string image_positions = "";        // 1d or 3d; empty: what the model was trained with, else 1d
  std::string image_resolution = "";       // VLM2Vec V1's high, mid, low or another word; empty: V2's route
  bool exif = false;                       // turn pictures upright by their EXIF orientation
  bool official_mask = false;              // of CLIP: Backbone::take_official_mask
  bool load_weights = true;                // false: the parameters are left for the caller to fill
  std::shared_ptr<ImageCache> images = {};  // decoded pictures, shared by encoders; none: its own
};

}  // namespace vlm2vec
