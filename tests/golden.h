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

// At the head of a golden test: a folder that another collection lacks is named as not run; ours must have it, and the
// collection must be there.
#define NEEDS_GOLDEN(folder)                                                            \
  if (!std::filesystem::is_directory(golden(folder))) {                                 \
    if (golden_is_ours()) FAIL() << "tests/golden/" << folder << " is missing";         \
    if (!std::filesystem::is_directory(golden(""))) FAIL() << golden("") << ": no such folder"; \
    GTEST_SKIP() << "not run: " << folder << " is not in " << golden("").string();      \
  }

// What the program cannot do yet, with the reason; empty: it can. Cases of qwen2_vl/cases.json, pictures of pixels/.
inline std::string cannot_run(const nlohmann::json& test_case) {
  if (test_case.value("route", "") == "v1") return "resizing in the file's own mode (--image_resolution)";
  for (const auto& image : test_case.value("images", nlohmann::json::array()))
    if (image.get<std::string>().ends_with(".jpg")) return "JPEG files";
  return "";
}
inline std::string cannot_decode(const std::string& format) { return format == "PNG" ? "" : format + " files"; }

}  // namespace vlm2vec
