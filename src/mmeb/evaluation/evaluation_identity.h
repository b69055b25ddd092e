// Decides whether a folder's evaluation matches the present options. Every {set}_score.json records how it was made.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "mmeb/evaluation/eval_options.h"

namespace vlm2vec {

// Returns the options that may change a score, for summary.json. Paths are absolute, so they are valid from everywhere.
nlohmann::ordered_json options_json(EvalOptions options);

// Throws Exit::usage if the folder has an evaluation with other options or another model, which would be lost. `model`
// is a ModelHash in hexadecimal digits; empty if not yet known.
void require_same_evaluation(const std::filesystem::path& folder, const nlohmann::ordered_json& options,
                             const std::string& model);

// Returns what determines a set's scores. content: SHA-256 of its rows; candidates: --num_candidates, 0 for its own.
nlohmann::ordered_json identity_json(const nlohmann::ordered_json& options, const std::string& model,
                                     const std::string& device, const std::string& content, int64_t candidates);
// Says whether two identities give the same scores; paths and other sets do not matter.
bool is_same_evaluation(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

}  // namespace vlm2vec
