// The house rules that a program can check: who may include whom, how long files, lines and functions may be.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace {
namespace fs = std::filesystem;

// A room includes itself and the rooms before it; rooms of one line do not see each other. main.cpp stands with cli.
const std::vector<std::vector<std::string>> order = {
    {"io"},   {"tensor"},        {"autograd"},  {"nn"},
    {"vlm"},  {"mmeb/registry"}, {"mmeb/data"}, {"mmeb/training", "mmeb/evaluation"},
    {"mini"}, {"show"},          {"cli"}};

// All that src/ sees of kernels/, and all that kernels/ sees of src/.
const std::vector<std::string> declarations = {"kernels/kernels.h", "kernels/gpu.h"};
const std::vector<std::string> seen_by_kernels = {"tensor/tensor.h", "tensor/dtype.h", "tensor/random.h",
                                                  "tensor/infonce_memory.h", "io/error.h"};

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

struct Place {
  size_t line = 0;
  std::string room;  // empty: none
};

Place place(const std::string& path) {
  if (path == "main.cpp") return {order.size() - 1, "cli"};
  for (size_t line = 0; line < order.size(); ++line)
    for (const std::string& room : order[line])
      if (path.starts_with(room + "/")) return {line, room};
  return {};
}

bool may_include(const std::string& file, const std::string& header) {
  if (file.starts_with("kernels/"))
    return header.starts_with("kernels/") ||
           std::find(seen_by_kernels.begin(), seen_by_kernels.end(), header) != seen_by_kernels.end();
  const Place here = place(file.substr(4));  // without "src/"
  if (std::find(declarations.begin(), declarations.end(), header) != declarations.end()) return here.room != "io";
  if (header == "kernels/device_memory.h") return file == "src/tensor/storage.cpp";
  const Place there = place(header);
  return !here.room.empty() && !there.room.empty() && (there.line < here.line || there.room == here.room);
}

TEST(IncludeDirection, RoomsIncludeThemselvesAndWhatTheyRestOn) {
  size_t seen = 0;
  for (const Source& source : sources({"src", "kernels"}))
    for (const std::string& header : includes(source)) {
      ++seen;
      EXPECT_TRUE(may_include(source.path, header)) << source.path << " includes " << header;
    }
  EXPECT_GT(seen, 100u);
}

// Types and calls of CUDA stay in kernels/; without this, src/ could not be built by g++ alone.
TEST(IncludeDirection, CudaStaysInKernels) {
  const std::regex call("\\b(cuda|cublas)[A-Z]\\w*\\(");
  EXPECT_TRUE(std::regex_search("cudaMalloc(&p, 1)", call));
  for (const Source& source : sources({"src"}))
    for (const std::string& line : source.lines) EXPECT_FALSE(std::regex_search(line, call)) << source.path << line;
}

TEST(IncludeDirection, TheRuleCanFail) {
  EXPECT_FALSE(may_include("src/tensor/ops.cpp", "autograd/var.h"));
  EXPECT_FALSE(may_include("src/nn/layers.h", "vlm/encoder.h"));
  EXPECT_FALSE(may_include("src/io/files.h", "tensor/tensor.h"));
  EXPECT_FALSE(may_include("src/io/files.h", "kernels/kernels.h"));
  EXPECT_FALSE(may_include("src/mmeb/registry/registry.h", "mmeb/data/dataset.h"));
  EXPECT_FALSE(may_include("src/mmeb/training/trainer.h", "mmeb/evaluation/evaluator.h"));
  EXPECT_FALSE(may_include("src/mmeb/evaluation/evaluator.h", "mmeb/training/trainer.h"));
  EXPECT_FALSE(may_include("src/mmeb/options.h", "io/files.h"));
  EXPECT_FALSE(may_include("src/vlm/encoder.cpp", "kernels/cuda.h"));
  EXPECT_FALSE(may_include("src/vlm/encoder.cpp", "kernels/device_memory.h"));
  EXPECT_FALSE(may_include("kernels/norm.cu", "autograd/ops.h"));
  EXPECT_FALSE(may_include("src/vlm/encoder.cpp", "encoder.h"));
  EXPECT_TRUE(may_include("src/main.cpp", "cli/commands.h"));
  EXPECT_TRUE(may_include("src/mmeb/training/trainer.h", "mmeb/data/dataset.h"));
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

size_t columns(const std::string& line) {  // of UTF-8
  return size_t(std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

struct Block {
  size_t first_line, lines;
};

// Functions, and other blocks whose } stands alone: they begin at the last line before it that is as far to the right.
// Classes, tables and lambdas end with }; and namespaces with a comment.
std::vector<Block> blocks(const std::vector<std::string>& lines) {
  std::map<size_t, size_t> heads;  // by column
  std::vector<Block> found;
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t column = lines[i].find_first_not_of(' ');
    if (column == std::string::npos) continue;
    const std::string text = lines[i].substr(column);
    if (text == "}" || (text.starts_with("}  //") && !text.starts_with("}  // namespace"))) {
      if (heads.contains(column)) found.push_back({heads[column] + 1, i - heads[column] + 1});
    } else if (text[0] != '#' && !text.starts_with("//")) {
      heads[column] = i;
    }
  }
  return found;
}

TEST(Files, AreShort) {
  for (const Source& source : sources({"src", "kernels"})) EXPECT_LE(source.lines.size(), 400u) << source.path;
  for (const Source& source : sources({"tests"})) EXPECT_LE(source.lines.size(), 500u) << source.path;
}

TEST(Files, LinesFitTheScreen) {
  for (const Source& source : sources({"src", "kernels"}))
    for (size_t i = 0; i < source.lines.size(); ++i)
      EXPECT_LE(columns(source.lines[i]), 120u) << source.path << ":" << i + 1;
}

TEST(Files, FunctionsAreShort) {
  size_t seen = 0;
  for (const Source& source : sources({"src", "kernels"}))
    for (const Block& block : blocks(source.lines)) {
      ++seen;
      EXPECT_LE(block.lines, 60u) << source.path << ":" << block.first_line;
    }
  EXPECT_GT(seen, 1000u);
}

TEST(Files, TheRulesCanFail) {
  const auto of = [](const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(line);
    return blocks(lines);
  };
  const std::vector<Block> found = of(R"(class A {
  void method(int x,
              int y) {
    if (x) {
      f();
    } else {
      g();
    }
  }
  int table[] = {
      1
  };
};
template <class T>
int function() {  // one
#ifdef X
// two

}  // three
}  // namespace)");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].first_line, 6u);  // else
  EXPECT_EQ(found[1].first_line, 2u);
  EXPECT_EQ(found[1].lines, 8u);
  EXPECT_EQ(found[2].lines, 5u);
  EXPECT_EQ(columns("ä→b"), 3u);
}

TEST(Files, EachOpensByWhatItIs) {
  for (const Source& source : sources({"src", "kernels"}))
    if (source.path.ends_with(".h") || source.path.ends_with(".cu")) {
      EXPECT_TRUE(!source.lines.empty() && source.lines[0].starts_with("//")) << source.path;
    }
}

}  // namespace
