// A table of the spellings of tensor names in files. Each model family is one row of tensor_names.cpp.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlm2vec {

struct TensorNames {
  std::string family;  // model_type of config.json
  // Prefixes in files and in this program's modules; the first that fits is rewritten.
  std::vector<std::pair<std::string, std::string>> prefixes;
  // Prefixes in this program and in transformers since 4.52, used mainly by adapters.
  std::vector<std::pair<std::string, std::string>> nested;
  // Stored tensors that an embedding does not need: the name or its end after a dot, and the reason to show the user.
  std::vector<std::pair<std::string, std::string>> ignored;
  std::string embedding, head;  // the file of a model with tied weights has one of the two, or both
};

inline constexpr std::string_view kPeftPrefix = "base_model.model.";  // begins the names in PEFT's files

// Throws Exit::data for a family without a row.
const TensorNames& tensor_names(std::string_view family = "qwen2_vl");

// Returns the module's name for any known spelling.
std::string canonical_name(std::string name, const TensorNames& names = tensor_names());
// Does the reverse: model.layers.0.x → model.language_model.layers.0.x, visual.x → model.visual.x.
std::string nested_name(std::string name, const TensorNames& names = tensor_names());
// Says why the tensor of this canonical name is ignored; empty if it is needed.
std::string ignored_because(std::string_view name, const TensorNames& names = tensor_names());

}  // namespace vlm2vec
