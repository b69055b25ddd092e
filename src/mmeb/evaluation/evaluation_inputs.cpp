#include "mmeb/evaluation/evaluation_inputs.h"

#include "tensor/error.h"

namespace vlm2vec {

int32_t DistinctInputs::number(const Side& side, size_t row) {
  const auto [at, is_new] = numbers_.emplace(side, int32_t(inputs_.size()));
  if (is_new) {
    sides_.push_back(side);
    inputs_.push_back(encoder_input(side, image_token_, pictures_));
    inputs_.back().row = sentence("row ", row + 1, " of ", set_);
  }
  return at->second;
}

void check_set(const std::string& name, const std::vector<EvalRow>& rows, PictureCheck& pictures) {
  for (size_t i = 0; i < rows.size(); ++i) {
    pictures.add(rows[i].query.image, i, name);
    for (const Side& candidate : rows[i].candidates) pictures.add(candidate.image, i, name);
  }
}

}  // namespace vlm2vec
