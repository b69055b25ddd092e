#include "mmeb/evaluation_inputs.h"

#include <set>

#include "tensor/error.h"

namespace vlm2vec {

namespace fs = std::filesystem;

int32_t DistinctInputs::number(const Side& side, size_t row) {
  const auto [at, is_new] = numbers_.emplace(side, int32_t(inputs_.size()));
  if (is_new) {
    sides_.push_back(side);
    inputs_.push_back(encoder_input(side, data_.image_token, data_.image_dir));
    inputs_.back().row = sentence("row ", row + 1, " of ", set_);
  }
  return at->second;
}

void check_set(const std::string& name, const std::vector<EvalRow>& rows, const EvaluationData& data) {
  std::set<std::string> found;
  const auto check = [&](const Side& side, size_t row) {
    if (!side.image.empty() && found.insert(side.image).second && !fs::is_regular_file(data.image_dir / side.image))
      fail(Exit::data, (data.image_dir / side.image).string(), ": no such file; row ", row + 1, " of ", name,
           " names this picture (--image_dir is joined before it)");
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    check(rows[i].query, i);
    for (const Side& candidate : rows[i].candidates) check(candidate, i);
  }
}

}  // namespace vlm2vec
