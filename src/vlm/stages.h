// A look inside a model: every stage of one input on its way through it, and a heat map of a score.
#pragma once
#include <string>
#include <vector>

#include "vlm/attribution.h"

namespace vlm2vec {

// A value on the host, as f32 or i64. The family names its stages: input_ids [n], pixel_values, vision_block_0 …,
// hidden_layer_0 …, hidden_final [n, dim], embedding [dim] and others; stages about pictures only if there are any.
struct Stage {
  std::string name;
  Tensor value;
  StageNote note;
  double seconds = 0;  // input_ids: all work before the first layer, mostly decoding and resizing
};
struct Stages {
  std::vector<Stage> list;
  bool cut = false;  // whether max_len has cut off text
};
Stages stages_of(Encoder& encoder, const EncoderInput& input);

// Returns the picture in gray; patches that raise the score are red, patches that lower it blue.
Image heat_map(const PictureAttribution& picture);

}  // namespace vlm2vec
