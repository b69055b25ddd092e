// Prints summaries as tables.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "mmeb/evaluation/summary.h"

namespace vlm2vec {

// Returns a table like the paper's, with a row per group and data set. Several summaries stand side by side under their
// titles; the last one has intervals.
std::string score_table(const std::vector<std::pair<std::string, Summary>>& columns);
std::string variants_table(const Summary& summary);  // each set's scores under other instructions; may be empty
// Returns the means of published models over the evaluated sets of MMEB, and a list of the missing sets. Averages
// published without scores per set appear only if all 36 sets were evaluated. Empty if no set is MMEB's.
std::string published_table(const Summary& ours, const std::string& title);
// Returns the paper's scores by number of candidates, for --num_candidates. Empty if no set is MMEB's.
std::string published_candidates_table(const Summary& ours);

}  // namespace vlm2vec
