// How much of a score hangs on what is done with equal scores: MMEB's list has the right candidate first, so "the first
// of equals wins" is the kindest rule.
#pragma once
#include <cstdint>
#include <span>

namespace vlm2vec {

// Whether a row is right if, among the candidates with the highest score, the first or the last wins, or if all of them
// have to be right.
struct TieOutcome {
  bool first = false, last = false, strict = false;
};
// scores, right: of the row's candidates, in their order; right: 1 for the positive and whatever counts as equal to it.
TieOutcome tie_outcome(std::span<const float> scores, std::span<const uint8_t> right);

}  // namespace vlm2vec
