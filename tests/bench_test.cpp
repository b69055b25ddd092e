// bench/kernels_bench without a GPU: it says so, or tries every case in the emulator, beside what a rival measured.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "io/files.h"
#include "io/text.h"
#include "kernels/gpu.h"
#include "lines_of_json.h"
#include "shell.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

std::string bench(const std::string& options, int* code = nullptr) {
  const auto program = std::filesystem::path(PROGRAM).replace_filename("kernels_bench");  // both at the build's root
  return output_of("'" + program.string() + "' " + options + " 2>&1", code);
}

TEST(KernelsBench, MeasuresEveryCaseBesideARival) {
  const TemporaryFolder folder("bench");
  const auto file = [&](const char* name) { return "'" + (folder / name).string() + "'"; };
  write_text(folder / "cases.jsonl", bench("--device emu --list"));
  const auto cases = lines_of_json(folder / "cases.jsonl");
  ASSERT_GE(cases.size(), 25u);
  std::set<std::string> kernels, names;
  for (const auto& each : cases) {
    kernels.insert(each.at("kernel").get<std::string>());
    EXPECT_TRUE(names.insert(each.at("case").get<std::string>()).second) << each;  // the rival's times go by it
  }
  const std::string rivals = read_text(SOURCE_DIR "/bench/rivals/kernels.py");
  for (const std::string& kernel : kernels)
    EXPECT_NE(rivals.find("\n    \"" + kernel + "\": "), std::string::npos) << kernel << " is not in kernels.py";

  // The rival took an hour for one case and failed in another.
  write_text(folder / "rival.jsonl",
             nlohmann::json{{"case", cases[0].at("case")}, {"seconds", 3600}, {"memory", 0}}.dump() + "\n" +
                 nlohmann::json{{"case", cases[1].at("case")}, {"error", "out of memory"}}.dump() + "\n");
  int code = -1;
  const std::string table =
      bench("--device emu --beside " + file("rival.jsonl") + " --output " + file("ours.jsonl"), &code);
  EXPECT_EQ(code, 0) << table;
  const auto ours = lines_of_json(folder / "ours.jsonl");
  ASSERT_EQ(ours.size(), cases.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    const std::string name = ours[i].at("case");
    EXPECT_EQ(name, cases[i].at("case"));
    EXPECT_GT(ours[i].at("seconds"), 0) << name;
    EXPECT_GT(ours[i].at("bytes"), 0) << name;
    EXPECT_EQ(ours[i].contains("rival_seconds"), i == 0) << name;
    const size_t begin = table.find("| " + name + " | ");
    ASSERT_NE(begin, std::string::npos) << name << " is not in\n" << table;
    const std::string row = table.substr(begin, table.find('\n', begin) - begin);
    EXPECT_EQ(row.ends_with(" | - | - |"), i != 0) << row;
    EXPECT_EQ(row.find(" | 3600000.000 | ") != std::string::npos, i == 0) << row;
  }
}

TEST(KernelsBench, SaysWhatItCannotDo) {
  int code = -1;
  EXPECT_NE(bench("--device cpu", &code).find("kernels_bench: --device cpu: expected cuda or emu"), std::string::npos);
  EXPECT_NE(code, 0);
  EXPECT_NE(bench("--beside").find("kernels_bench: --beside: expected "), std::string::npos);
  if (gpu::missing().empty()) GTEST_SKIP() << "there is a GPU";
  EXPECT_EQ(bench("", &code), "kernels_bench: " + gpu::missing() + "; --device emu tries the program without a GPU\n");
  EXPECT_NE(code, 0);
}

}  // namespace
}  // namespace vlm2vec
