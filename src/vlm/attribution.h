// How much each word and each patch of an input contributes to a score.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// The share of each of a picture's patches, row by row.
struct PictureAttribution {
  Image image;  // as the model sees it
  int rows = 0, columns = 0;
  std::vector<float> shares;  // [rows, columns]
};

// Integrated gradients (Sundararajan et al. 2017) of the score y·t of an input's embedding y. The baseline has a
// blank for each word (CLIP: its end token), its mean colour for each picture. Inputs x are the tokens' embeddings and
// the normalised pixels.
// The share of x is its difference to the baseline times the mean of dy/dx·t on the straight line between the two.
// The shares add up to score − nothing, but for the error of a mean over 32 points.
struct Attribution {
  double score = 0, nothing = 0;                     // score of the input, score of the baseline
  std::string blank;                                 // the baseline's token for each word
  std::vector<std::pair<std::string, float>> words;  // tokens and their shares, without image tokens
  std::vector<PictureAttribution> pictures;
};

// target: f32 [dim], on the host.
Attribution attribute(Encoder& encoder, const EncoderInput& row, const Tensor& target);

}  // namespace vlm2vec
