// A function that the linker may pick from any object file (a template, an inline function) must not be compiled with
// AVX: picked from there it would crash older machines. So the objects with newer instructions show no function at all,
// only their table.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

namespace vlm2vec {
namespace {

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char part[4096];
  while (const size_t n = fread(part, 1, sizeof part, pipe)) text.append(part, n);
  pclose(pipe);
  return text;
}

std::filesystem::path engine_library() {  // beside the tests or one folder up
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  for (const auto& path : {folder / "libengine.a", folder.parent_path() / "libengine.a"})
    if (exists(path)) return path;
  return {};
}

// The functions of one member of the library that other files see: nm's letters T (its own) and W (anybody's).
std::set<std::string> visible_functions(const std::string& member) {
  std::set<std::string> functions;
  std::istringstream lines(output_of("nm -A -C '" + engine_library().string() + "' 2>/dev/null"));
  for (std::string line; std::getline(lines, line);) {  // "…/libengine.a:avx2.cpp.o:0000000000000000 W std::…"
    const size_t at = line.find(":" + member + ".");
    if (at == std::string::npos) continue;
    const size_t colon = line.find(':', at + 1);
    if (colon == std::string::npos || line.size() < colon + 20) continue;
    const char letter = line[colon + 18];
    if (letter == 'T' || letter == 'W') functions.insert(line.substr(colon + 20));
  }
  return functions;
}

TEST(SimdLeak, ObjectsWithNewerInstructionsShowNoFunctions) {
  if (output_of("nm --version 2>/dev/null").empty()) GTEST_SKIP() << "there is no nm here";
  ASSERT_FALSE(engine_library().empty()) << "no libengine.a beside the tests or above them";
  for (const char* isa : {"avx2", "avx512"})
    EXPECT_EQ(visible_functions(isa), std::set<std::string>{}) << isa << ".cpp";
  // The control: simd.cpp throws, so it has its own copy of an inline destructor, and the search sees it.
  bool found = false;
  for (const std::string& function : visible_functions("simd")) found |= function == "vlm2vec::Error::~Error()";
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace vlm2vec
