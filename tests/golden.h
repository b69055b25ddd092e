// Where the reference data lies, and what of it this program cannot do yet.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace vlm2vec {

inline bool golden_is_ours() { return std::getenv("VLM2VEC_GOLDEN") == nullptr; }

inline std::filesystem::path golden(const std::filesystem::path& file) {
  const char* elsewhere = std::getenv("VLM2VEC_GOLDEN");
  return std::filesystem::path(elsewhere ? elsewhere : SOURCE_DIR "/tests/golden") / file;
}

// The reason why a case of qwen2_vl/cases.json is not run; empty: it is.
inline std::string cannot_run(const nlohmann::json& test_case) {
  if (test_case.value("route", "") == "v1") return "resizing in the file's own mode (--image_resolution)";
  for (const auto& image : test_case.value("images", nlohmann::json::array()))
    if (image.get<std::string>().ends_with(".jpg")) return "JPEG files";
  return "";
}

}  // namespace vlm2vec
