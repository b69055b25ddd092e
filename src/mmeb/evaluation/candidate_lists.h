// The paper's ablation of the number of candidates (section 5.3 there: 100 to 5000 for each query; its classification
// sets keep their classes).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace vlm2vec {

// candidates: of each row of a set, numbers of distinct sides, the positive first, as the evaluator ranks them. Every
// row keeps its positive and gets n − 1 others, all different: drawn from its own list while that lasts, then from all
// other candidates of the set; fewer if the set has no more. Draws are keyed by seed and row, and a smaller n draws a
// part of what a larger one draws, so that accuracy can only fall as n grows. Exit::usage if n < 2.
std::vector<std::vector<int32_t>> with_num_candidates(const std::vector<std::vector<int32_t>>& candidates, int64_t n,
                                                      uint64_t seed);

// Of each row its positive, then every other candidate of the set in the order in which they first come: what
// `eval_type: global` ranks.
std::vector<std::vector<int32_t>> with_all_candidates(const std::vector<std::vector<int32_t>>& candidates);

// "Scene_t2i has 40 candidates, fewer than --num_candidates 100"; empty if every row has n.
std::string shortage_note(const std::string& set, const std::vector<std::vector<int32_t>>& candidates, int64_t n);

}  // namespace vlm2vec
