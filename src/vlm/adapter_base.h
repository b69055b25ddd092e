// Does an adapter belong to the model that it is put on? `train` writes beside it which files its base model had.
#pragma once
#include <filesystem>
#include <string>

namespace vlm2vec {

// A sentence for the user if the adapter was trained on a model with other files than those in `model`, else empty;
// empty as well for adapters that other programs have written. sha256: of `model` (ModelHash), if it is known already.
std::string other_base_note(const std::filesystem::path& model, const std::filesystem::path& adapter,
                            std::string sha256 = "");

}  // namespace vlm2vec
