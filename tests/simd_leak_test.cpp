// A function that the linker may pick from any object file (a template, an inline function) must not be compiled with
// AVX: picked from there it would crash older machines. So the objects with newer instructions show no function at all,
// only their table.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "shell.h"

namespace vlm2vec {
namespace {

std::filesystem::path engine_library() {  // beside the tests or one folder up
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& path : {folder / "libengine.a", folder.parent_path() / "libengine.a"})
    if (exists(path)) return path;
  return {};
}

// By source file, the functions of its object in the library that other files see: nm's letters T (its own) and W
// (anybody's).
std::map<std::string, std::set<std::string>> visible_functions() {
  std::map<std::string, std::set<std::string>> functions;
  std::istringstream lines(output_of("nm -A -C '" + engine_library().string() + "' 2>/dev/null"));
  for (std::string line; std::getline(lines, line);) {  // "…/libengine.a:avx2.cpp.o:0000000000000000 W std::…"
    const size_t object = line.find(".a:"), colon = object == line.npos ? object : line.find(".o:", object + 3);
    if (colon == line.npos || line.size() < colon + 22) continue;
    const char letter = line[colon + 20];
    std::set<std::string>& of_object = functions[line.substr(object + 3, colon - object - 3)];
    if (letter == 'T' || letter == 'W') of_object.insert(line.substr(colon + 22));
  }
  return functions;
}

TEST(SimdLeak, ObjectsWithNewerInstructionsShowNoFunctions) {
  ASSERT_NE(output_of("nm --version 2>/dev/null"), "") << "nm is part of binutils, which g++ needs";
  ASSERT_FALSE(engine_library().empty()) << "no libengine.a beside the tests or above them";
  const auto functions = visible_functions();
  int newer = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SOURCE_DIR "/src/tensor/cpu/simd")) {
    const std::string file = entry.path().filename().string();
    if (entry.path().extension() != ".cpp" || file == "simd.cpp" || file == "base.cpp") continue;
    ASSERT_TRUE(functions.contains(file)) << "the library has no object of " << file;
    EXPECT_EQ(functions.at(file), std::set<std::string>{}) << file;
    ++newer;
  }
  EXPECT_GE(newer, 2);
  // The control: simd.cpp throws, so it has its own copy of an inline destructor, and the search sees it.
  ASSERT_TRUE(functions.contains("simd.cpp"));
  EXPECT_TRUE(functions.at("simd.cpp").contains("vlm2vec::Error::~Error()"));
}

}  // namespace
}  // namespace vlm2vec
