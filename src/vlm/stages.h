// A look inside a model: every stage of one input on its way through it.
#pragma once
#include <string>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// On the host, as f32 or i64: input_ids [n], position_ids [3, n], image_grid_thw [pictures, 3], pixel_values
// [patches, 1176], vision_block_0 …, vision_merger, hidden_embed, hidden_layer_0 …, hidden_final [n, dim],
// embedding [dim]; those about pictures only if there are any.
struct Stage {
  std::string name;
  Tensor value;
};
std::vector<Stage> stages_of(Encoder& encoder, const EncoderInput& input);

}  // namespace vlm2vec
