// Checks an adapter's base model: `train` stores the base's hash beside the adapter.
#pragma once
#include <filesystem>
#include <string>

namespace vlm2vec {

// Returns a warning if the adapter's base model had other files than `model`; empty: the same files, or an adapter that
// another program wrote. sha256: the ModelHash of `model`, if it is known already.
std::string other_base_note(const std::filesystem::path& model, const std::filesystem::path& adapter,
                            std::string sha256 = "");

}  // namespace vlm2vec
