// How files spell the tensors of a model family, in one table: another family is another row of tensor_names.cpp.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlm2vec {

struct TensorNames {
  std::string family;  // model_type of config.json
  // Beginnings as files have them, and as the modules of this program are called; the first that fits is rewritten.
  std::vector<std::pair<std::string, std::string>> prefixes;
  // Beginnings as modules are called, and as transformers calls them since 4.52, in adapters above all.
  std::vector<std::pair<std::string, std::string>> nested;
  // Stored tensors that an embedding does not need: the name, or its end after a dot, and the reason for the user.
  std::vector<std::pair<std::string, std::string>> ignored;
  std::string embedding, head;  // a model with tied weights has one of the two in its file, or both
};

inline constexpr std::string_view kPeftPrefix = "base_model.model.";  // in front of the names of PEFT's files

// Exit::data for a family without a row.
const TensorNames& tensor_names(std::string_view family = "qwen2_vl");

// The name as the modules are called, from every spelling in the wild.
std::string canonical_name(std::string name, const TensorNames& names = tensor_names());
// The other way: model.layers.0.x → model.language_model.layers.0.x, visual.x → model.visual.x.
std::string nested_name(std::string name, const TensorNames& names = tensor_names());
// Why this canonical name is left out, for the user; empty: it is needed.
std::string ignored_because(std::string_view name, const TensorNames& names = tensor_names());

}  // namespace vlm2vec
