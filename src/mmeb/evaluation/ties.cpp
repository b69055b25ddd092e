#include "mmeb/evaluation/ties.h"

#include <algorithm>

#include "tensor/error.h"

namespace vlm2vec {

TieOutcome tie_outcome(std::span<const float> scores, std::span<const uint8_t> right) {
  CHECK(!scores.empty() && scores.size() == right.size(), "ties: ", scores.size(), " scores of ", right.size(),
        " candidates");
  const float best = *std::max_element(scores.begin(), scores.end());
  TieOutcome outcome{false, false, true};
  bool seen = false;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] != best) continue;
    if (!seen) outcome.first = right[i];
    seen = true;
    outcome.last = right[i];
    outcome.strict &= right[i] != 0;
  }
  return outcome;
}

}  // namespace vlm2vec
