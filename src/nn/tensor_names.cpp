#include "nn/tensor_names.h"

#include <algorithm>

#include "io/error.h"

namespace vlm2vec {
namespace {


// clang-format off
const std::vector<TensorNames> kFamilies = {
    {.family = "qwen2_vl",
     .prefixes = {{"model.language_model.", "model."},  // transformers since 4.52
                  {"language_model.", "model."},        // saved from AutoModel, as sentence-transformers does
                  {"model.visual.", "visual."}},
     .nested = {{"visual.", "model.visual."},
                {"model.", "model.language_model."}},
     .ignored = {{"lm_head.weight", "embeddings need no language-model head"},
                 {"rotary_emb.inv_freq", "rotary frequencies follow from config.json"},
                 {"rotary_pos_emb.inv_freq", "rotary frequencies follow from config.json"}},
     .embedding = "model.embed_tokens.weight",
     .head = "lm_head.weight"}};
// clang-format on

std::string rewritten(std::string name, const std::vector<std::pair<std::string, std::string>>& beginnings) {
  for (const auto& [from, to] : beginnings)
    if (name.starts_with(from)) return name.replace(0, from.size(), to);
  return name;
}

}  // namespace

const TensorNames& tensor_names(std::string_view family) {
  const auto row = std::ranges::find(kFamilies, family, &TensorNames::family);
  if (row == kFamilies.end()) fail(Exit::data, "model_type ", family, " has no tensor names here");
  return *row;
}

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
