// Refuses parts of tokenizer.json that this program does not know.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "io/error.h"

namespace vlm2vec {

template <class... Text>
[[noreturn]] void refuse(const Text&... text) {
  fail(Exit::data, text..., "; this program reads tokenizers as those of Qwen2, Llama, Phi-3, CLIP, SigLIP and BERT");
}

// A token as an error shows it: quoted, and on one line whatever bytes it has.
std::string shown(std::string_view token);
std::string type_of(const nlohmann::json& part);  // "null" for null

}  // namespace vlm2vec
