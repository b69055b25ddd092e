// Other candidates for the rows of a set than their own.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"

namespace vlm2vec {

// The paper's ablation of the number of candidates (section 5.3 there: 100 to 5000 for each query; its classification
// sets keep their classes). Every row keeps its positive and gets n − 1 others, all different sides under their first
// names: drawn from its own list while that lasts, then from all other candidates of the set; fewer if the set has no
// more. Draws are keyed by seed and row, and a smaller n draws a part of what a larger one draws, so that accuracy can
// only fall as n grows. Exit::usage if n < 2.
std::vector<CandidateList> with_num_candidates(const EvaluationSet& set, int64_t n, uint64_t seed);

// Of each row its positive, then every other side of the set's candidates in the order in which they first come, under
// its first name: what `eval_type: global` ranks. All rows share one list.
std::vector<CandidateList> with_all_candidates(const EvaluationSet& set);

// "Scene_t2i has 40 candidates, fewer than --num_candidates 100"; empty if every row has n.
std::string shortage_note(const EvaluationSet& set, int64_t n);

}  // namespace vlm2vec
