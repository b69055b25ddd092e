// How a model is loaded and how it reads rows.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "tensor/storage.h"

namespace vlm2vec {

class ImageCache;

struct EncoderOptions {
  Device device = Device::cpu;
  bool f64 = false;                        // everything in double precision, for tests
  bool bf16 = false;                       // products with weights in bf16, sums in f32
  int64_t min_pixels = 0, max_pixels = 0;  // bounds of a picture's area; 0: those of the processor's file
  int64_t dim = 0;                         // keep only the first numbers of an embedding; 0: all
  int64_t max_len = 0;                     // most tokens of a row, pictures included; 0: the model's limit
  int64_t num_crops = 0;                   // most tiles of a picture; 0: that of the processor's file
  std::string image_positions = "";        // 1d or 3d; empty: as the model was trained, else 1d
  std::string image_resolution = "";       // VLM2Vec V1's high, mid, low or another word; empty: V2's route
  bool exif = false;                       // turn pictures upright by their EXIF orientation
  std::optional<bool> official_mask = {};  // VLM2Vec's evaluation of CLIP; none: as the model was trained
  bool official_features = false;          // those of VLM2Vec's evaluation of BLIP-2
  bool load_weights = true;                // false: the caller fills the parameters
  std::shared_ptr<ImageCache> images = {};  // decoded pictures, shared by encoders; none: its own
};

}  // namespace vlm2vec
