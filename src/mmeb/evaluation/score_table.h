// Summaries for people.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "mmeb/evaluation/summary.h"

namespace vlm2vec {

// A table like the paper's: a row per group and data set; several summaries side by side under their titles, the last
// one with its intervals.
std::string score_table(const std::vector<std::pair<std::string, Summary>>& columns);
std::string variants_table(const Summary& summary);  // how far other instructions move each set's score; may be empty
// The same sets beside published results: means of each model over the sets of MMEB that were evaluated, and which were
// not. Averages that are published without their sets stand there only when all 36 were. Empty: no set is MMEB's.
std::string published_table(const Summary& ours, const std::string& title);
// The paper's scores by the number of candidates, for --num_candidates. Empty: no set is MMEB's.
std::string published_candidates_table(const Summary& ours);

}  // namespace vlm2vec
