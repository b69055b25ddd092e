// The parts of the report; each is the HTML of one <section>.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "show/gallery.h"
#include "show/run.h"

namespace vlm2vec {

// An evaluation's title and ranked sets.
using RankedEvaluation = std::pair<std::string, std::vector<RankedSet>>;

std::string head_section(const Run& run);
std::string curves_section(const TrainingRun& training);
std::string cost_section(const TrainingRun& training);
std::string scores_section(const std::vector<EvaluationRun>& evaluations);  // shows the last beside the one before
std::string examples_section(const std::vector<RankedSet>& sets, Gallery& gallery, int64_t& examples);
// Shows in-batch similarities of some rows of some sets, before and after. Empty if no set has vectors.
std::string similarity_section(const std::vector<RankedEvaluation>& evaluations, Gallery& gallery);
std::string manifest_section(const Run& run, const std::string& version);

std::string fixed(double value, int digits);
// Returns a path relative to the working directory if it lies below it; else the full path.
std::string shown_place(const std::filesystem::path& place);

// Returns the text of a side without the picture's token and without line breaks at its ends.
std::string shown_text(const Side& side);
// Returns the common beginning of all queries of a set.
std::string instruction_of(const RankedSet& set);

}  // namespace vlm2vec
