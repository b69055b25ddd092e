#include "nn/tensor_names.h"

namespace vlm2vec {
namespace {

std::string rewritten(std::string name, const TensorNames::Beginnings& beginnings) {
  for (const auto& [from, to] : beginnings)
    if (name.starts_with(from)) return name.replace(0, from.size(), to);
  return name;
}

}  // namespace

std::string canonical_name(std::string name, const TensorNames& names) {
  if (name.starts_with(kPeftPrefix)) name.erase(0, kPeftPrefix.size());
  return rewritten(std::move(name), names.prefixes);
}

std::string nested_name(std::string name, const TensorNames& names) { return rewritten(std::move(name), names.nested); }

std::string ignored_because(std::string_view name, const TensorNames& names) {
  for (const auto& [ending, reason] : names.ignored)
    if (name == ending || name.ends_with("." + ending)) return reason;
  return "";
}

}  // namespace vlm2vec
