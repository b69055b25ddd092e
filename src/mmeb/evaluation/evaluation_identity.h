// Is an evaluation that lies in a folder the one that is asked for? Every {set}_score.json says what it was made of.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mmeb/evaluation/eval_options.h"

namespace vlm2vec {

// The options of an evaluation that may change a score, for summary.json. Places are named in full, so that they still
// lead there when they are read from elsewhere.
nlohmann::ordered_json options_json(EvalOptions options);

// An evaluation goes on in its folder; Exit::usage if it is one of other options or another model, which would be lost.
// `model`: ModelHash as hexadecimal digits; empty: not known yet.
void require_same_evaluation(const std::filesystem::path& folder, const nlohmann::ordered_json& options,
                             const std::string& model);

// What the scores of a set are made of. content: SHA-256 of its rows; candidates: --num_candidates, 0 for its own.
nlohmann::ordered_json identity_json(const nlohmann::ordered_json& options, const std::string& model,
                                     const std::string& device, const std::string& content, int64_t candidates);
// Whether two such would give the same scores: where things lie and which other sets there are does not matter.
bool is_same_evaluation(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace vlm2vec
