// What in an input carries a score.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vlm/encoder.h"

namespace vlm2vec {

// How a picture's patches share in a score, row by row.
struct PictureAttribution {
  Image image;  // as the model sees it
  int rows = 0, columns = 0;
  std::vector<float> shares;  // [rows, columns]
};

// What carries the score y·t of an input's embedding y: integrated gradients (Sundararajan et al. 2017). On the
// straight way from an input that says nothing, a blank for each word and for each picture its mean colour, the share
// of a number x is its difference times the mean of dy/dx·t. A word's numbers are its token's embedding, a patch's its
// normalised pixels. The shares add up to score − nothing, but for the error of a mean over 32 points.
struct Attribution {
  double score = 0, nothing = 0;                     // of the input, and of the one that says nothing
  std::vector<std::pair<std::string, float>> words;  // tokens, but those that stand for a picture, and their shares
  std::vector<PictureAttribution> pictures;
};

// target: f32 [dim], on the host.
Attribution attribute(Encoder& encoder, const EncoderInput& row, const Tensor& target);

}  // namespace vlm2vec
