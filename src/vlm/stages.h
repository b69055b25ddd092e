// A look inside a model: every stage of one input on its way through it, and a picture of what carries a score.
#pragma once
#include <string>
#include <vector>

#include "vlm/attribution.h"

namespace vlm2vec {

// On the host, as f32 or i64: input_ids [n], position_ids [3, n], image_grid_thw [pictures, 3], pixel_values
// [patches, 1176], vision_block_0 …, vision_merger, hidden_embed, hidden_layer_0 …, hidden_final [n, dim],
// embedding [dim]; those about pictures only if there are any.
struct Stage {
  std::string name;
  Tensor value;
  StageNote note;
  double seconds = 0;  // input_ids: of all that comes before the first layer, decoding and resizing above all
};
struct Stages {
  std::vector<Stage> list;
  bool cut = false;  // whether max_len has cut off text
};
Stages stages_of(Encoder& encoder, const EncoderInput& input);

// The picture in gray, with what speaks for the score in red and what speaks against it in blue.
Image heat_map(const PictureAttribution& picture);

}  // namespace vlm2vec
