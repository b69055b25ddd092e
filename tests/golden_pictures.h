// Pictures of the reference data, by the names that its own index gives them.
#pragma once
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "golden.h"
#include "io/files.h"

namespace vlm2vec {

// The first picture that a case of qwen2_vl/cases.json shows to this model ("tiny", "mini").
inline std::filesystem::path golden_picture(const std::string& model) {
  const nlohmann::json cases = read_json(golden("qwen2_vl/cases.json"));
  for (const nlohmann::json& c : cases.at(model))
    if (c.contains("images") && !c["images"].empty())
      return golden("qwen2_vl/images") / c["images"][0].get<std::string>();
  throw std::runtime_error("qwen2_vl/cases.json names no picture of " + model);
}

}  // namespace vlm2vec
