// How files spell the tensors of a model family. Each family has one such row (vlm/families); a module tree without a
// family has kPlainNames.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlm2vec {

struct TensorNames {
  using Beginnings = std::vector<std::pair<std::string, std::string>>;
  // From a beginning in files to the beginning that this program's modules have; the first that fits is rewritten.
  Beginnings prefixes = {};
  // From a beginning of this program's modules to the one that transformers has since 4.52, in adapters above all.
  Beginnings nested = {};
  // Stored tensors that an embedding does not need: the name or its end after a dot, and the reason for the user.
  Beginnings ignored = {};
  std::string embedding = "", head = "";  // a model with tied weights stores either or both; empty: it has no head
  std::string image_encoder = "";         // path of the module that --image_encoder_freeze freezes
};
inline const TensorNames kPlainNames;

inline constexpr std::string_view kPeftPrefix = "base_model.model.";  // in front of the names in PEFT's files

// Returns the name that this program's modules have for any spelling in the wild.
std::string canonical_name(std::string name, const TensorNames& names);
// The inverse: model.layers.0.x → model.language_model.layers.0.x, visual.x → model.visual.x.
std::string nested_name(std::string name, const TensorNames& names);
// Returns why a tensor of this canonical name is left out, for the user; empty if the model needs it.
std::string ignored_because(std::string_view name, const TensorNames& names);

}  // namespace vlm2vec
