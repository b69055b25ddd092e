// The parts of the report, each as HTML of one <section>.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "show/gallery.h"
#include "show/run.h"

namespace vlm2vec {

// Its sets ranked, with the evaluation's title.
using RankedEvaluation = std::pair<std::string, std::vector<RankedSet>>;

std::string head_section(const Run& run);
std::string curves_section(const TrainingRun& training);
std::string cost_section(const TrainingRun& training);
std::string scores_section(
    const std::vector<EvaluationRun>& evaluations);  // of the last, with the one before beside it
std::string examples_section(const std::vector<RankedSet>& sets, Gallery& gallery, int64_t& examples);
// In-batch similarities: some rows of some sets as one batch, before and after. Empty if no set has vectors.
std::string similarity_section(const std::vector<RankedEvaluation>& evaluations, Gallery& gallery);
std::string manifest_section(const Run& run, const std::string& version);

std::string fixed(double value, int digits);
// A place as it is seen from here, if it lies below; else in full.
std::string shown_place(const std::filesystem::path& place);

// The text of a side as people read it, without the picture's token and line breaks at its ends.
std::string shown_text(const Side& side);
// What the queries of a set have in common at their beginning.
std::string instruction_of(const RankedSet& set);

}  // namespace vlm2vec
