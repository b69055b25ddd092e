// Replaces the rows' own candidates by candidates from the whole set.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mmeb/evaluation/evaluation_set.h"

namespace vlm2vec {

// The paper's ablation of the number of candidates (its section 5.3: 100 to 5000 per query; classification sets keep
// their classes). Every row keeps its positive and gets n − 1 different sides, under their first names. They are drawn
// from the row's own list, then from all other candidates of the set; fewer if the set runs out. Draws are keyed by
// seed and row. A smaller n draws a subset of a larger n, so accuracy can only fall as n grows. Exit::usage if n < 2.
std::vector<CandidateList> with_num_candidates(const EvaluationSet& set, int64_t n, uint64_t seed);

// Returns the lists that `eval_type: global` ranks: each row's positive, then all other candidate sides of the set in
// order of appearance, under their first names. All rows share one list.
std::vector<CandidateList> with_all_candidates(const EvaluationSet& set);

// Returns "Scene_t2i has 40 candidates, fewer than --num_candidates 100", or "" if every row has n.
std::string shortage_note(const EvaluationSet& set, int64_t n);

}  // namespace vlm2vec
