// The house rules that a program can check: who may include whom, and how long a file may be.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>

namespace {
namespace fs = std::filesystem;

// A folder includes itself and what stands before it; main.cpp stands with cli.
const std::vector<std::string> order = {"tensor", "io", "autograd", "nn", "vlm", "mmeb", "mini", "show", "cli"};

// All that src/ sees of kernels/, and all that kernels/ sees of src/.
const std::string declarations = "kernels/kernels.h";
const std::vector<std::string> seen_by_kernels = {"tensor/tensor.h", "tensor/dtype.h", "tensor/random.h",
                                                  "io/error.h"};

struct Source {
  std::string path;  // from the repository's root
  std::vector<std::string> lines;
};

std::vector<Source> sources(const std::vector<std::string>& folders) {
  const std::vector<std::string> kinds = {".h", ".cpp", ".cu"};
  std::vector<Source> found;
  for (const std::string& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(SOURCE_DIR) / folder)) {
      if (std::find(kinds.begin(), kinds.end(), entry.path().extension()) == kinds.end()) continue;
      Source source{fs::relative(entry.path(), SOURCE_DIR).string(), {}};
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) source.lines.push_back(line);
      found.push_back(std::move(source));
    }
  return found;
}

// What stands between quotes after #include.
std::vector<std::string> includes(const Source& source) {
  static const std::regex pattern("^\\s*#\\s*include\\s*\"([^\"]+)\"");
  std::vector<std::string> found;
  for (const std::string& line : source.lines)
    if (std::smatch match; std::regex_search(line, match, pattern)) found.push_back(match[1]);
  return found;
}

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }

// The place in `order` of a file of src/; main.cpp stands with cli.
size_t place(const std::string& path) {
  const std::string folder = folder_of(path) == "io" ? "tensor" : folder_of(path);
  const auto at = std::find(order.begin(), order.end(), folder);
  return at == order.end() ? order.size() - 1 : size_t(at - order.begin());
}

bool may_include(const std::string& file, const std::string& header) {
  if (file.starts_with("kernels/"))
    return header.starts_with("kernels/") ||
           std::find(seen_by_kernels.begin(), seen_by_kernels.end(), header) != seen_by_kernels.end();
  const std::string inside = file.substr(4);  // without "src/"
  if (header.starts_with("kernels/")) return header == declarations;
  return std::find(order.begin(), order.end(), folder_of(header)) != order.end() && place(header) <= place(inside);
}

TEST(IncludeDirection, FoldersIncludeThemselvesAndWhatTheyRestOn) {
  size_t seen = 0;
  for (const Source& source : sources({"src", "kernels"}))
    for (const std::string& header : includes(source)) {
      ++seen;
      EXPECT_TRUE(may_include(source.path, header)) << source.path << " includes " << header;
    }
  EXPECT_GT(seen, 100u);
}

TEST(IncludeDirection, TheRuleCanFail) {
  EXPECT_FALSE(may_include("src/tensor/ops.cpp", "autograd/var.h"));
  EXPECT_FALSE(may_include("src/nn/layers.h", "mmeb/options.h"));
  EXPECT_FALSE(may_include("src/vlm/encoder.cpp", "kernels/cuda.h"));
  EXPECT_FALSE(may_include("kernels/norm.cu", "autograd/ops.h"));
  EXPECT_FALSE(may_include("src/vlm/encoder.cpp", "encoder.h"));
  EXPECT_TRUE(may_include("src/main.cpp", "cli/commands.h"));
  EXPECT_TRUE(may_include("src/tensor/ops.h", "kernels/kernels.h"));
}

// JSON and command-line headers take seconds to compile: they stay out of headers.
TEST(IncludeDirection, SlowHeadersAreInSourceFilesOnly) {
  for (const Source& source : sources({"src", "kernels"}))
    for (const std::string& line : source.lines) {
      const bool slow = line.starts_with("#include <nlohmann/json.hpp>") || line.starts_with("#include <CLI/");
      EXPECT_FALSE(slow && source.path.ends_with(".h")) << source.path;
    }
}

TEST(Files, NoneHasMoreThan500Lines) {
  for (const Source& source : sources({"src", "kernels", "tests"})) EXPECT_LE(source.lines.size(), 500u) << source.path;
}

TEST(Files, EachOpensByWhatItIs) {
  for (const Source& source : sources({"src", "kernels"}))
    if (source.path.ends_with(".h") || source.path.ends_with(".cu")) {
      EXPECT_TRUE(!source.lines.empty() && source.lines[0].starts_with("//")) << source.path;
    }
}

}  // namespace
