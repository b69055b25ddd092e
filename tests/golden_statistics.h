// Reference data that keeps some rows and sums of a stage, not all numbers: those sums of ours, and the stages' names.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "io/error.h"
#include "tensor/ops.h"

namespace vlm2vec {

// f64 [rows]: the length of each.
inline Tensor row_norms(const Tensor& x) {
  std::vector<double> norms;
  const Tensor rows = x.view({-1, x.columns()});
  for (int64_t row = 0; row < rows.rows(); ++row) norms.push_back(std::sqrt(sum_of_squares(rows.rows(row, row + 1))));
  return from_vector(norms);
}

// Takes pixels [tiles, 3, side, side]. "sample": every `step`-th pixel from `first`; "mean", or else the mean square, of
// each tile's channels.
inline Tensor pixel_statistic(const Tensor& pixels, const std::string& which, int64_t step, int64_t first) {
  const int64_t side = pixels.dim(3);
  const auto values = to_vector<double>(pixels);
  std::vector<double> result;
  for (size_t at = 0; at < values.size();) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < side * side; ++i, ++at) {
      if (which == "sample" && i / side % step == first && i % side % step == first) result.push_back(values[at]);
      mean += values[at] / double(side * side), square += values[at] * values[at] / double(side * side);
    }
    if (which != "sample") result.push_back(which == "mean" ? mean : square);
  }
  return from_vector(result);
}

// "text.hidden_1" is the stage hidden_layer_0, "vision.hidden_0" vision_embed.
inline std::string stage_of(const std::string& name) {
  if (name == "text.final_norm") return "hidden_final";
  const size_t at = name.find(".hidden_");
  if (at == name.npos) return name;
  const int number = std::stoi(name.substr(at + 8));
  if (number == 0) return name.starts_with("text") ? "hidden_embed" : "vision_embed";
  return sentence(name.starts_with("text") ? "hidden_layer_" : "vision_block_", number - 1);
}

}  // namespace vlm2vec
