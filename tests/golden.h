// Where the reference data lies.
#pragma once
#include <cstdlib>
#include <filesystem>
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

}  // namespace vlm2vec
