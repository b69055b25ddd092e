// What the tests of the miniature MMEB share. Tests that need the font (package fonts-noto-color-emoji) are skipped,
// with a message, where it is not installed.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/error.h"
#include "mini/world.h"
#include "temporary_folder.h"

namespace vlm2vec::mini {
namespace fs = std::filesystem;

// fonts-noto-color-emoji 2.042 and unicode-data 15.0, on which the pinned hashes rest.
inline const std::string font_sha256 = "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec";
inline const std::string names_sha256 = "8445f23ac8388e096be19d0262e14fceff856ff52093f2356dc89485f1a853db";

inline Sources without_stamps() { return {.stamps = "/nonexistent/stamps"}; }

// Built once: 87 pictures are decoded and resized.
inline const World& world() {
  static const World world(without_stamps());
  return world;
}

// The message of the Error with the given code that `action` must throw.
template <class Action>
std::string message_of(Exit code, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(int(error.code), int(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline size_t entries(const TemporaryFolder& folder) {
  return size_t(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()));
}

class WithFont : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(Sources().font) || !fs::exists(Sources().names))
      GTEST_SKIP() << "needs the packages fonts-noto-color-emoji and unicode-data";
  }
};

}  // namespace vlm2vec::mini
